package alarm

import (
	"context"
	"fmt"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// Rules notes which alerting rules a managed cluster has, and tells whether their body is
// needed. hash is report.RulesUnknown when the agent cannot read them.
func (i *Ingest) Rules(ctx context.Context, cluster, hash string) (need string, err error) {
	if hash == report.RulesUnknown || hash == "" {
		return "", nil
	}
	term, err := i.lead()
	if err != nil {
		return "", err
	}
	known, err := term.UseAlarmRules(ctx, cluster, hash)
	if err != nil || known {
		return "", err
	}
	return hash, nil
}

// SetRules stores the body of alerting rules under the hash that it was sent with, which the
// caller has verified: what a newer agent says of a rule we may not know, and would leave
// out of a hash of our own. The error wraps fault.TooLarge when they are more than is kept.
func (i *Ingest) SetRules(ctx context.Context, hash string, groups []report.RuleGroup) error {
	body, _, err := report.CanonicalRules(groups)
	if err != nil {
		return err
	}
	if len(body) > report.MaxRulesBytes {
		return fmt.Errorf("rules %s: %d bytes are more than %d: %w", hash, len(body), report.MaxRulesBytes, fault.TooLarge)
	}
	term, err := i.lead()
	if err != nil {
		return err
	}
	if err := term.PutAlarmRules(ctx, hash, body); err != nil {
		return err
	}
	_, err = i.mapper.catalogue.Refresh(ctx)
	return err
}
