package conformance

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Verdict is what became of a case.
type Verdict string

// The verdicts.
const (
	Pass Verdict = "PASS"
	Fail Verdict = "FAIL"
	Skip Verdict = "SKIP"
)

// Result is the verdict on one case, on one version of the API where it is about one.
type Result struct {
	Case    Case
	Major   string // "" when the case is about no version in particular
	Verdict Verdict
	Reason  string // why it failed or was skipped
}

// Name is the identifier of the case with the version it was tried on.
func (r Result) Name() string {
	if r.Major == "" {
		return r.Case.ID
	}
	return r.Case.ID + "/" + r.Major
}

// Report is what a run found, in the order of the cases.
type Report struct {
	Results  []Result
	Answers  int // that the server gave
	Duration time.Duration
	NoSkip   bool // what was skipped counts as failed
}

// Count returns how many results have this verdict.
func (r Report) Count(v Verdict) int {
	n := 0
	for _, result := range r.Results {
		if result.Verdict == v {
			n++
		}
	}
	return n
}

// Failed returns the results that speak against the server.
func (r Report) Failed() []Result {
	var failed []Result
	for _, result := range r.Results {
		if result.Verdict == Fail || r.NoSkip && result.Verdict == Skip {
			failed = append(failed, result)
		}
	}
	return failed
}

// Write prints one line for each case and a summary.
func (r Report) Write(w io.Writer) error {
	var out strings.Builder
	for _, result := range r.Results {
		fmt.Fprintf(&out, "%-16s %s  %-28s %s\n", result.Name(), result.Verdict, result.Case.Source, result.Case.Expect)
		for line := range strings.Lines(result.Reason) {
			fmt.Fprintf(&out, "%23s%s\n", "", strings.TrimRight(line, "\n"))
		}
	}
	fmt.Fprintf(&out, "\n%d passed, %d failed, %d skipped; %d answers in %s\n",
		r.Count(Pass), r.Count(Fail), r.Count(Skip), r.Answers, r.Duration.Round(time.Millisecond))
	for _, v := range []Verdict{Fail, Skip} {
		if r.Count(v) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n%s:\n", map[Verdict]string{Fail: "failed", Skip: "skipped"}[v])
		for _, result := range r.Results {
			if result.Verdict == v {
				first, _, _ := strings.Cut(result.Reason, "\n")
				fmt.Fprintf(&out, "  %-16s %s\n", result.Name(), first)
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}
