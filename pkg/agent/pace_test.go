package agent

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const debounce, minInterval = 10 * time.Second, time.Minute
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

	t.Run("the first report goes at once", func(t *testing.T) {
		p := pace{debounce: debounce, minInterval: minInterval}
		if got := p.changed(at(0)); got != 0 {
			t.Errorf("wait = %s, want none", got)
		}
	})

	t.Run("a later change waits for others", func(t *testing.T) {
		p := pace{debounce: debounce, minInterval: minInterval}
		p.written(at(0))
		if got := p.changed(at(100)); got != debounce {
			t.Errorf("wait at first = %s, want %s", got, debounce)
		}
		if got := p.changed(at(104)); got != 6*time.Second {
			t.Errorf("wait after another change = %s, want what is left of the first one's", got)
		}
		if got := p.wait(at(110)); got != 0 {
			t.Errorf("wait when it is due = %s, want none", got)
		}
	})

	t.Run("reports keep their distance", func(t *testing.T) {
		p := pace{debounce: debounce, minInterval: minInterval}
		p.written(at(0))
		if got := p.changed(at(5)); got != 55*time.Second {
			t.Errorf("wait = %s, want the rest of the interval", got)
		}
	})

	t.Run("a change that undoes itself does not hurry the next", func(t *testing.T) {
		p := pace{debounce: debounce, minInterval: minInterval}
		p.written(at(0))
		p.changed(at(100))
		p.settled()
		if got := p.changed(at(130)); got != debounce {
			t.Errorf("wait = %s, want %s", got, debounce)
		}
	})
}
