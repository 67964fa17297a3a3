package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/klauspost/compress/zstd"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Limits of an alerts report.
const (
	// MaxWindow is how many transitions the writer puts into one report.
	MaxWindow = 5000

	// MaxTransitions and MaxActive are how many the reader takes.
	MaxTransitions = 10_000
	MaxActive      = 10_000

	// MaxAlertTexts is how many texts the reader takes.
	MaxAlertTexts = MaxTransitions + MaxActive

	// MaxAlertLabels is how many labels, or annotations, one alert may have.
	MaxAlertLabels = 64

	// MaxAlertBytes is how long all labels, or all annotations, of one alert may be.
	MaxAlertBytes = 16 << 10

	// maxAlertsBytes is how long the JSON of a report is at most, likelyRatio how much
	// shorter zstd makes it when alerts differ from each other.
	maxAlertsBytes = 3 << 20
	likelyRatio    = 12

	// activeParts is what the active set may take of a report, so that transitions
	// always have room.
	activeParts = 2
)

// SeverityLabel is the label by which alerts say how bad they are.
const SeverityLabel = "severity"

// ActiveDigest identifies a set of open alerts: the SHA-256, in hexadecimal digits, of the
// lines "<fingerprint> <starts> <opened>\n" of all, in ascending order of fingerprint,
// which is the order that the caller has them in.
func ActiveDigest(alerts []OpenAlert) string {
	h := sha256.New()
	var line []byte
	for i := range alerts {
		a := &alerts[i]
		line = append(line[:0], a.Fingerprint...)
		line = append(line, ' ')
		line = strconv.AppendInt(line, a.Starts, 10)
		line = append(line, ' ')
		line = strconv.AppendUint(line, a.Opened, 10)
		line = append(line, '\n')
		h.Write(line)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Journal is all that there is to say of a managed cluster's alerts.
type Journal struct {
	// Alerts has the whole active set and all transitions that are not confirmed, however
	// many; digest and count of the active set are made here.
	Alerts Alerts

	End   uint64 // newest sequence of the journal
	Rules string // digest of the alerting rules, or RulesUnknown
	Page  string // see AlertsIngested
}

// EncodedAlerts is an alerts report ready to be written; see Compose.
type EncodedAlerts struct {
	Head   AlertsHead // without epoch, seq and observed, which Compose decides
	Window int        // transitions that are in the report
	Whole  bool       // the active set is there in full

	frame Frame
}

// AlertsEncoder makes alerts reports of at most AlertParts parts.
type AlertsEncoder struct{ unframer *Unframer }

// NewAlertsEncoder returns an AlertsEncoder.
func NewAlertsEncoder() (*AlertsEncoder, error) {
	u, err := NewUnframer(1)
	if err != nil {
		return nil, err
	}
	return &AlertsEncoder{unframer: u}, nil
}

// Encode makes a report of the oldest transitions, as many as fit. The active set goes
// along in full when it leaves them room, else the page that the hub asked for, or none.
func (e *AlertsEncoder) Encode(j Journal) (EncodedAlerts, error) {
	j.Alerts.V = Version
	c := chooser{journal: &j, digest: ActiveDigest(j.Alerts.Active.Alerts)}
	window := min(len(j.Alerts.Transitions), MaxWindow)
	active := c.whole()

	if len(active.Alerts) <= MaxActive {
		frame, err := c.frame(window, active)
		if err != nil {
			return EncodedAlerts{}, err
		}
		if len(frame.Parts) <= AlertParts {
			return c.encoded(frame, window, active), nil
		}
	}
	active, err := c.active()
	if err != nil {
		return EncodedAlerts{}, err
	}
	window, frame, err := largest(window, AlertParts, func(n int) (Frame, error) { return c.frame(n, active) })
	if err != nil {
		return EncodedAlerts{}, err
	}
	return c.encoded(frame, window, active), nil
}

// Compose returns the entries for what was encoded, given the conditions that the
// ManagedClusterAddOn has now; see Encoder.Compose. The stamp has the journal's epoch.
func (e *AlertsEncoder) Compose(current []metav1.Condition, stamp Stamp, encoded EncodedAlerts) Update {
	d := draft{
		kind: KindAlerts, fields: encoded.Head.fields(), frame: encoded.frame,
		status: metav1.ConditionTrue, reason: HeadReported, epochCounts: true,
	}
	return d.compose(find(KindAlerts, current), stamp, e.unframer)
}

// chooser tries how much of a journal fits into a report.
type chooser struct {
	journal *Journal
	digest  string
}

func (c *chooser) whole() ActiveSet {
	all := c.journal.Alerts.Active.Alerts
	return ActiveSet{Alerts: all, Count: len(all), SHA256: c.digest}
}

// active is what of the active set goes into a report that cannot hold everything.
func (c *chooser) active() (ActiveSet, error) {
	whole := c.whole()
	if len(whole.Alerts) <= MaxActive {
		frame, err := c.frame(0, whole)
		if err != nil || len(frame.Parts) <= activeParts {
			return whole, err
		}
	}
	none := whole
	none.After, none.Alerts, none.Through = lastFingerprint, nil, lastFingerprint
	if c.journal.Page == "" {
		return none, nil
	}
	after := c.journal.Page
	if after == PageFromStart {
		after = ""
	}
	rest := whole.Alerts
	for len(rest) > 0 && after != "" && rest[0].Fingerprint <= after {
		rest = rest[1:]
	}
	page := func(n int) ActiveSet {
		s := whole
		s.After, s.Alerts, s.Through = after, rest[:n], ""
		if n < len(rest) {
			s.Through = rest[n].Fingerprint
			if n > 0 {
				s.Through = rest[n-1].Fingerprint
			}
		}
		return s
	}
	n, _, err := largest(min(len(rest), MaxActive), activeParts, func(n int) (Frame, error) { return c.frame(0, page(n)) })
	if err != nil {
		return none, err
	}
	if n == 0 && len(rest) > 0 { // not even one: the texts of an intake are bounded, so this is a journal of strangers
		return none, nil
	}
	return page(n), nil
}

// lastFingerprint is both ends of the page that has nothing.
const lastFingerprint = "ffffffffffffffff"

// body is a report with the first transitions and an active set, and the texts of these.
func (c *chooser) body(window int, active ActiveSet) Alerts {
	all := &c.journal.Alerts
	b := *all
	t := texts{from: all.Texts, place: make([]int, len(all.Texts)), chosen: []AlertText{}}
	b.Transitions = make([]Transition, window)
	for i := range b.Transitions {
		b.Transitions[i] = all.Transitions[i]
		b.Transitions[i].Text = t.use(all.Transitions[i].Text)
	}
	b.Active = active
	b.Active.Alerts = make([]OpenAlert, len(active.Alerts))
	for i, a := range active.Alerts {
		a.Text = t.use(a.Text)
		b.Active.Alerts[i] = a
	}
	b.Texts = t.chosen
	return b
}

func (c *chooser) frame(window int, active ActiveSet) (Frame, error) {
	body, err := canonical(c.body(window, active))
	if err != nil {
		return Frame{}, fmt.Errorf("alerts of %s: %w", c.journal.Alerts.Cluster, err)
	}
	if len(body) > maxAlertsBytes { // not worth the compressor's time
		return Frame{Raw: len(body), Bytes: len(body) / likelyRatio, Parts: make([]string, MaxParts+1)}, nil
	}
	return newFrame(body, zstd.SpeedBetterCompression)
}

func (c *chooser) encoded(frame Frame, window int, active ActiveSet) EncodedAlerts {
	all := &c.journal.Alerts
	h := AlertsHead{Envelope: frame.envelope(), Firing: active.Count, End: c.journal.End, Rules: c.journal.Rules}
	for i := range all.Active.Alerts {
		if all.Texts[all.Active.Alerts[i].Text].Labels[SeverityLabel] == "critical" {
			h.Critical++
		}
	}
	if window > 0 {
		h.First, h.Last = all.Transitions[0].First(), all.Transitions[window-1].Seq
	}
	return EncodedAlerts{Head: h, Window: window, Whole: active.Whole(), frame: frame}
}

// texts collects the texts that are used, in the order of their first use.
type texts struct {
	from   []AlertText
	place  []int // in chosen, plus one; 0: not chosen yet
	chosen []AlertText
}

func (t *texts) use(i int) int {
	if t.place[i] == 0 {
		t.chosen = append(t.chosen, t.from[i])
		t.place[i] = len(t.chosen)
	}
	return t.place[i] - 1
}

// largest finds about the largest n whose frame has no more than so many parts. Size grows
// with n, not evenly, so it asks some times and takes what comes within a tenth.
func largest(n, parts int, frame func(n int) (Frame, error)) (int, Frame, error) {
	const attempts = 6
	room := parts * PartChars / 4 * 3
	low, high := 0, n+1 // low fits, or is 0; high does not
	var best Frame
	for i := 0; n > low; i++ {
		f, err := frame(n)
		if err != nil {
			return 0, Frame{}, err
		}
		if len(f.Parts) <= parts {
			low, best = n, f
			if i >= attempts || f.Bytes >= room/10*9 {
				break
			}
		} else {
			high = n
		}
		n = min(int(float64(n)*float64(room)/float64(max(1, f.Bytes))*0.96), high-1)
		if n <= low {
			if best.Parts != nil {
				break
			}
			n = (low + high) / 2
		}
	}
	if best.Parts != nil {
		return low, best, nil
	}
	f, err := frame(0)
	return 0, f, err
}

// canonical is JSON without white space and with `<`, `>` and `&` as they are.
func canonical(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Intact tells whether the alerts report among the conditions is one that nobody damaged.
func (e *AlertsEncoder) Intact(current []metav1.Condition) bool {
	found := find(KindAlerts, current)
	last, err := found.envelope()
	return err == nil && found.holds(last, e.unframer)
}
