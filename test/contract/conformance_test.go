package contract

import (
	"strings"
	"testing"

	"github.com/o2ims/o2ims/test/contract/conformance"
)

// TestConformance runs the whole suite on the server in both profiles. Nothing may be
// skipped: the synthetic O-Cloud has something for every case to try itself on.
func TestConformance(t *testing.T) {
	for _, profile := range []string{"default", "v1"} {
		t.Run(profile, func(t *testing.T) {
			majors, err := conformance.Profile(profile)
			if err != nil {
				t.Fatal(err)
			}
			target := startServer(t, majors...)
			report, err := conformance.Run(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			for _, result := range report.Failed() {
				if pointless(profile, result) {
					continue
				}
				t.Errorf("%s %s %s: %s\n%s", result.Verdict, result.Name(), result.Case.Source, result.Case.Expect, result.Reason)
			}
			t.Logf("%d passed, %d failed, %d skipped; %d answers in %s", report.Count(conformance.Pass), report.Count(conformance.Fail), report.Count(conformance.Skip), report.Answers, report.Duration)
		})
	}
}

// pointless tells whether a case cannot have anything to try in a profile, whatever the data.
func pointless(profile string, r conformance.Result) bool {
	return profile == "v1" && r.Verdict == conformance.Skip && strings.Contains(r.Reason, "not both served")
}
