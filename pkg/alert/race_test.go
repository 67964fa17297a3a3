package alert

import "testing"

// skipUnderRace leaves out what writes megabytes of JSON in one goroutine: the race detector
// makes it ten times as slow and has nothing to find in it.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("one goroutine and much JSON: nothing for the race detector")
	}
}
