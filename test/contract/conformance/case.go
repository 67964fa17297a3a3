package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Case is one requirement.
type Case struct {
	ID     string // such as INV-SEL-07; the middle part is the group
	Source string // the clause that wants it
	Expect string // what is wanted, in one line

	majors []string // versions it is about; nil: each that is served
	once   bool     // it is about no version in particular
	run    func(x *exchange) error
}

// Group is the part of the API that the case is about.
func (c Case) Group() string {
	parts := strings.SplitN(c.ID, "-", 3)
	return parts[1]
}

// on returns the versions to try the case on, of those that are served.
func (c Case) on(served []string) []string {
	switch {
	case c.once:
		return []string{""}
	case c.majors == nil:
		return served
	}
	var on []string
	for _, m := range served {
		if slices.Contains(c.majors, m) {
			on = append(on, m)
		}
	}
	return on
}

// onlyV1 and onlyV2 are the versions of cases that are about one of them.
var (
	onlyV1 = []string{"v1"}
	onlyV2 = []string{"v2"}
)

// skipped is why a case cannot be tried.
type skipped string

func (s skipped) Error() string { return string(s) }

// skip returns the error that makes a case skipped.
func skip(format string, args ...any) error { return skipped(fmt.Sprintf(format, args...)) }

// verdictOf turns the error of a case into its verdict.
func verdictOf(err error) (Verdict, string) {
	if err == nil {
		return Pass, ""
	}
	if s := skipped(""); errors.As(err, &s) {
		return Skip, string(s)
	}
	return Fail, err.Error()
}

// faults collects what is wrong, so that a case names more than the first.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// most is how many faults of one case are worth reading.
const most = 8

func (f faults) err() error {
	if len(f) > most {
		return errors.Join(errors.Join(f[:most]...), fmt.Errorf("… and %d more", len(f)-most))
	}
	return errors.Join(f...)
}

// Cases returns all there are, in the order in which they run.
func Cases() []Case { return cases() }

// cases are all there are, in the order in which they run. Those that judge every answer of
// the run come last.
func cases() []Case {
	return slices.Concat(
		versionCases(), pathCases(), methodCases(), errorCases(), authCases(), orderCases(),
		httpCases(), limitCases(),
		attributeCases(), referenceCases(), conformanceCases(),
		exampleCases(), grammarCases(), meaningCases(), differentialCases(),
		selectorCases(), pagingCases(), explainCases(),
		subscriptionCases(), ownerCases("INV-SUB-15", "INV-SUB-16", "/subscriptions", "subscriptionId"), answerCases(), monitoringCases(),
	)
}
