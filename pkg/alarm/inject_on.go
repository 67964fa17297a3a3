//go:build o2ims_inject_loss

package alarm

import "github.com/o2ims/o2ims/pkg/report"

// dropInjected drops the ends among twenty transitions: a beginning that is dropped would
// be made up for by its end.
func dropInjected(t *report.Transition) bool {
	return t.Type == report.Resolved && t.Seq > 60 && t.Seq <= 80
}
