package hub

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// Log is all that the process logs, a line of JSON each.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// CaptureLog takes over the log, in full detail, until the test ends.
func CaptureLog(t testing.TB) *Log {
	t.Helper()
	l := &Log{}
	former := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(former) })
	return l
}

// Write implements io.Writer.
func (l *Log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// Since returns what was logged after a mark, and the next mark. The first mark is 0.
func (l *Log) Since(mark int) (string, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text.Bytes()[mark:]), l.text.Len()
}

// WaitFor returns what was logged after a mark, once there is a message about a request in
// it: much is logged after the answer, "request served" first and then "audit".
func (l *Log) WaitFor(t testing.TB, mark int, message, requestID string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		text, _ := l.Since(mark)
		for line := range strings.Lines(text) {
			if strings.Contains(line, `"msg":"`+message+`"`) && strings.Contains(line, requestID) {
				return text
			}
		}
		select {
		case <-deadline:
			t.Fatalf("the log has no %q of request %s: %s", message, requestID, text)
		case <-tick.C:
		}
	}
}
