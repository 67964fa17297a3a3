package simulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// journalPath is where notifications are shown.
const journalPath = "/journal"

// Entry is one line of the journal: a notification, and what became of it.
type Entry struct {
	Time           time.Time       `json:"time"`
	Path           string          `json:"path"` // of the callback
	NotificationID string          `json:"notificationId"`
	ConsumerID     string          `json:"consumerSubscriptionId,omitempty"`
	Type           int             `json:"notificationEventType"`
	ObjectRef      string          `json:"objectRef,omitempty"`
	Status         int             `json:"status"`              // that was answered; 0 when the connection was broken off
	Taken          bool            `json:"taken"`               // it counts as received
	Duplicate      bool            `json:"duplicate,omitempty"` // it was taken before
	Break          bool            `json:"break,omitempty"`     // its prior state is not what was taken last of this object, or its sequence does not follow
	Body           json.RawMessage `json:"body"`
}

// load goes on from a journal of an earlier run.
func (s *Simulator) load(file string) error {
	err := readJournal(file, func(e *Entry) {
		if e.Taken {
			s.take(e)
		}
		s.entries = append(s.entries, *e)
	}, func(e *RegistrationEntry) {
		if e.Taken {
			s.enter(e)
		}
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// ReadJournal reads the notifications of a journal. A last line that is cut off is left out.
func ReadJournal(file string) ([]Entry, error) {
	var entries []Entry
	err := readJournal(file, func(e *Entry) { entries = append(entries, *e) }, func(*RegistrationEntry) {})
	return entries, err
}

// ReadRegistrations reads the registrations of a journal, likewise.
func ReadRegistrations(file string) ([]RegistrationEntry, error) {
	var entries []RegistrationEntry
	err := readJournal(file, func(*Entry) {}, func(e *RegistrationEntry) { entries = append(entries, *e) })
	return entries, err
}

func readJournal(file string, notified func(*Entry), registered func(*RegistrationEntry)) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if err := readLine(line, notified, registered); err != nil {
			return fmt.Errorf("journal: line %d: %w", n, err)
		}
	}
}

// readLine tells the two kinds of lines apart: only registrations have a method.
func readLine(line []byte, notified func(*Entry), registered func(*RegistrationEntry)) error {
	var registration RegistrationEntry
	if err := json.Unmarshal(line, &registration); err != nil {
		return err
	}
	if registration.Method != "" {
		registered(&registration)
		return nil
	}
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return err
	}
	notified(&e)
	return nil
}

// write appends a line to the journal, if there is one.
func (s *Simulator) write(entry any) error {
	if s.journal == nil {
		return nil
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	_, err = s.journal.Write(append(line, '\n'))
	return err
}

func (s *Simulator) serveJournal(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/jsonl")
	encoder := json.NewEncoder(w)
	for _, e := range s.Entries() {
		if encoder.Encode(e) != nil {
			return // the client is gone
		}
	}
}
