package alarm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/store"
)

// atlas is an inventory in which every cluster has the nodes n1 and n2, with eth0 and sda.
type atlas struct{}

func thing(class, name string) Object {
	id := func(of string) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(of+name)) }
	return Object{Class: class, ID: id("id"), TypeID: id("type"), DictionaryID: id("dictionary")}
}

func (atlas) OCloud() Object { return thing(ClassOCloud, "o-cloud") }

func (atlas) Cluster(c string) (Object, bool) {
	return thing(ClassDeploymentManager, c), c != "unknown"
}

func (atlas) Node(c, n string) (Object, bool) {
	return thing(ClassResource, c+"/"+n), n == "n1" || n == "n2" || n == "192.0.2.1"
}

func (atlas) Device(c, n, d string) (Object, bool) {
	return thing(ClassResource, c+"/"+n+"/"+d), d == "eth0" || d == "sda" || d == "0000:3b:00.0"
}

// hub is the hub's half of the alarm path on a store.
type hub struct {
	store   *store.Store
	records *RedisRecords
	ingest  *Ingest
	leading *store.Term
	clock   time.Time
}

func options(url string) store.Options {
	return store.Options{URL: url, Timeout: 20 * time.Second}
}

func newHub(t testing.TB, url string) *hub {
	t.Helper()
	s, err := store.Open(options(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := &hub{store: s, clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	h.lead(t)
	mapping := MappingOptions{SeverityLabel: "severity", NodeLabels: []string{"node", "instance"}, DeviceLabels: []string{"pci", "device"}}
	m, err := NewMapper(mapping, atlas{}, NewCatalogue(s))
	if err != nil {
		t.Fatal(err)
	}
	h.records = NewRedisRecords(s, Configuration{RetentionDays: 15})
	h.ingest = NewIngest(IngestOptions{GapGrace: 30 * time.Second}, s, func() *store.Term { return h.leading }, m)
	h.ingest.now = func() time.Time { return h.clock }
	return h
}

func (h *hub) lead(t testing.TB) {
	t.Helper()
	var err error
	if h.leading, err = h.store.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// spoke is an agent with a journal.
type spoke struct {
	cluster string
	epoch   string
	journal []report.Transition // all of the epoch; entry i has Seq i+1, unless it stands for several
	acked   uint64
	window  int // most transitions in a report
	tail    int // how many confirmed transitions can still be sent again
	open    map[string]report.OpenAlert
	clock   int64
	page    string
	said    []report.AlertText
	pages   int // most open alerts in a report; 0: no bound
}

func newSpoke(cluster string) *spoke {
	return &spoke{cluster: cluster, epoch: uuid.NewString(), window: 100, tail: 1000, open: make(map[string]report.OpenAlert), clock: 1_790_000_000_000}
}

func (s *spoke) end() uint64 {
	if len(s.journal) == 0 {
		return 0
	}
	return s.journal[len(s.journal)-1].Seq
}

func fingerprint(i int) string { return fmt.Sprintf("%016x", i) }

// add journals a transition of alert i and returns its episode.
func (s *spoke) add(kind report.TransitionType, i int) report.Episode {
	s.clock += 1000
	fp := fingerprint(i)
	t := report.Transition{Type: kind, Seq: s.end() + 1, Observed: s.clock, Via: "webhook", Text: i}
	switch kind {
	case report.Fired:
		t.Episode = report.Episode{Fingerprint: fp, Starts: s.clock}
		s.open[fp] = report.OpenAlert{Episode: t.Episode, Opened: t.Seq, Text: i}
	case report.Resolved:
		t.Episode, t.Ends = s.open[fp].Episode, s.clock
		delete(s.open, fp)
	case report.Updated:
		o := s.open[fp]
		o.Suppress = !o.Suppress
		s.open[fp] = o
		t.Episode, t.Suppress = o.Episode, o.Suppress
	}
	s.journal = append(s.journal, t)
	return t.Episode
}

// texts are those of a thousand alerts, at their numbers.
func (s *spoke) texts() []report.AlertText {
	if s.said == nil {
		for i := range 1000 {
			s.said = append(s.said, textOf(i))
		}
	}
	return slices.Clone(s.said)
}

func textOf(i int) report.AlertText {
	return report.AlertText{
		Labels:      map[string]string{"alertname": fmt.Sprintf("Alert%d", i), "severity": "major", "node": "n1"},
		Annotations: map[string]string{"summary": "something is wrong"},
	}
}

// report is what the agent has in its status.
func (s *spoke) report() Report {
	r := Report{Cluster: s.cluster}
	r.Head.Epoch, r.Head.End = s.epoch, s.end()
	r.Head.Observed = millis(s.clock)
	r.Alerts.Cluster = s.cluster
	for _, t := range s.journal {
		if t.Seq <= s.acked || len(r.Alerts.Transitions) == s.window || int(s.end()-t.Seq) > s.tail {
			continue
		}
		r.Alerts.Transitions = append(r.Alerts.Transitions, t)
	}
	if n := len(r.Alerts.Transitions); n > 0 {
		r.Head.First, r.Head.Last = r.Alerts.Transitions[0].First(), r.Alerts.Transitions[n-1].Seq
	}
	set := &r.Alerts.Active
	for _, fp := range sortedKeys(s.open) {
		set.Alerts = append(set.Alerts, s.open[fp])
	}
	set.Count, set.SHA256 = len(set.Alerts), report.ActiveDigest(set.Alerts)
	if s.pages > 0 && len(set.Alerts) > s.pages {
		s.cut(set)
	}
	r.Alerts.Texts = s.texts()
	r.Current = func(context.Context) (report.AlertsHead, error) { return r.Head, nil }
	return r
}

// cut leaves the page that the hub asked for of a set.
func (s *spoke) cut(set *report.ActiveSet) {
	const last = "ffffffffffffffff"
	if s.page == "" {
		set.After, set.Through, set.Alerts = last, last, nil
		return
	}
	set.After = s.page
	if s.page == report.PageFromStart {
		set.After = ""
	}
	set.Alerts = slices.DeleteFunc(set.Alerts, func(o report.OpenAlert) bool { return o.Fingerprint <= set.After })
	if len(set.Alerts) > s.pages {
		set.Alerts = set.Alerts[:s.pages]
		set.Through = set.Alerts[s.pages-1].Fingerprint
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// heed takes the hub's answer.
func (s *spoke) heed(a report.AlertsIngested) {
	s.page = a.Page
	if a.Epoch == s.epoch {
		s.acked = a.Seq
	}
}

// talk lets the agent report and the hub answer until everything is confirmed.
func talk(t testing.TB, h *hub, s *spoke) {
	t.Helper()
	for range 1000 {
		r, err := h.ingest.Apply(t.Context(), s.report())
		if err != nil {
			t.Fatal(err)
		}
		before := s.acked
		s.heed(r.Answer)
		if r.Again == 0 && s.acked == s.end() && s.page == "" {
			return
		}
		if r.Again > 0 && s.acked == before {
			h.clock = h.clock.Add(r.Again)
		}
	}
	t.Fatalf("agent and hub do not come to an end: acknowledged %d of %d", s.acked, s.end())
}

// told are the events that were stored, each as type and record.
func told(t testing.TB, s *store.Store) []string {
	t.Helper()
	var list []string
	events, err := s.Events(t.Context(), 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if e.Seq != uint64(i)+1 || e.Source != store.AlarmSource || e.Kind != store.AlarmKind {
			t.Fatalf("event %d: seq %d of %s/%s", i, e.Seq, e.Source, e.Kind)
		}
		list = append(list, EventType(e.Type).String()+" "+e.ID)
	}
	return list
}

func wantTold(t testing.TB, s *store.Store, want ...string) {
	t.Helper()
	if got := told(t, s); !slices.Equal(got, want) {
		t.Errorf("events\n got %q\nwant %q", got, want)
	}
}

func (h *hub) record(t testing.TB, cluster string, e report.Episode) Record {
	t.Helper()
	r, err := h.records.Record(t.Context(), RecordID(cluster, e))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestIngestLifeOfAnAlarm(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	e := s.add(report.Fired, 7)
	talk(t, h, s)
	s.add(report.Updated, 7)
	talk(t, h, s)
	s.add(report.Resolved, 7)
	talk(t, h, s)
	id := RecordID("edge-1", e).String()
	wantTold(t, h.store, "NEW "+id, "CHANGE "+id, "CLEAR "+id)

	r := h.record(t, "edge-1", e)
	if r.Version != 3 || r.Active() || r.Severity != Major || r.Perceived() != Cleared || r.ClearedBy != ClearedByAlert ||
		!r.Raised.Equal(millis(e.Starts)) || !r.Cleared.Equal(millis(s.clock)) || !r.Suppressed || r.Via != "webhook" {
		t.Errorf("record %+v", r)
	}
	node := thing(ClassResource, "edge-1/n1")
	if r.ObjectID != node.ID || r.ObjectTypeID != node.TypeID || r.DefinitionID != standardID(node.DictionaryID, "CLUSTERNODE_MAJOR") || r.ProbableCauseID != ProbableCauseID("HOST_OS_ERROR") {
		t.Errorf("record %+v does not refer to node, definition and cause", r)
	}
	events, err := h.store.Events(t.Context(), 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	var prior, post Record
	for _, side := range []struct {
		document []byte
		into     *Record
	}{{events[0].Prior, &prior}, {events[0].Post, &post}} {
		if *side.into, err = recordOf(store.Alarm{ID: r.ID, Document: side.document, Version: side.into.Version}); err != nil {
			t.Fatal(err)
		}
	}
	if prior.Suppressed || !post.Suppressed || !post.Active() {
		t.Errorf("event CHANGE: prior %+v, post %+v", prior, post)
	}
	// It fires again: that is another alarm.
	again := s.add(report.Fired, 7)
	talk(t, h, s)
	if r := h.record(t, "edge-1", again); !r.Active() || r.ID == RecordID("edge-1", e) {
		t.Errorf("record of the second episode: %+v", r)
	}
}

func TestIngestAppliesOnce(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	for i := range 10 {
		s.add(report.Fired, i)
	}
	r := s.report()
	for range 3 { // as after crashes between the change and the answer
		if _, err := h.ingest.Apply(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		h.lead(t)
	}
	if n := len(told(t, h.store)); n != 10 {
		t.Errorf("%d events, want 10", n)
	}
	// The add-on was deleted and made anew; the agent sends everything again.
	s.acked = 0
	talk(t, h, s)
	if n := len(told(t, h.store)); n != 10 {
		t.Errorf("%d events after the agent repeated everything, want 10", n)
	}
}

func TestIngestOnlyTheLeader(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	s.add(report.Fired, 1)
	old := h.leading
	h.lead(t)
	h.leading = old
	if _, err := h.ingest.Apply(t.Context(), s.report()); !errors.Is(err, store.ErrFenced) {
		t.Errorf("a leader of before: %v, want fenced", err)
	}
	h.leading = nil
	if _, err := h.ingest.Apply(t.Context(), s.report()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("no leader: %v, want unavailable", err)
	}
	if got := told(t, h.store); len(got) != 0 {
		t.Errorf("events %q", got)
	}
}

func TestIngestResolvedFirst(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	e := report.Episode{Fingerprint: fingerprint(1), Starts: 1000}
	s.journal = []report.Transition{{Type: report.CompactedTransitions, From: 1, Seq: 4, Count: 4, Ends: 5000, Episode: e, Via: "poll"}}
	talk(t, h, s)
	id := RecordID("edge-1", e).String()
	wantTold(t, h.store, "NEW "+id, "CLEAR "+id)
	if r := h.record(t, "edge-1", e); r.Compacted != 4 || r.Version != 2 {
		t.Errorf("record %+v", r)
	}
	if j, err := h.store.AlarmJournal(t.Context(), "edge-1"); err != nil || j.Compacted != 4 || j.Applied != 4 {
		t.Errorf("journal %+v, %v", j, err)
	}
}

func TestIngestGap(t *testing.T) {
	for _, tc := range []struct {
		name      string
		tail      int
		wantGap   bool
		wantLost  uint64
		wantTold  int
		wantAlarm bool // of what fell into the gap
	}{
		{name: "the agent sends it again", tail: 1000, wantTold: 12},
		{name: "the agent has forgotten it", tail: 3, wantGap: true, wantLost: 8, wantTold: 12},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, s := newHub(t, store.Embedded), newSpoke("edge-1")
			for i := range 12 {
				s.add(report.Fired, i)
			}
			s.acked, s.tail = 10, tc.tail // by a store that is lost
			talk(t, h, s)
			if n := len(told(t, h.store)); n != tc.wantTold {
				t.Errorf("%d events, want %d: those of a gap are raised by comparing what is open", n, tc.wantTold)
			}
			gaps, err := h.store.AlarmGaps(t.Context())
			if err != nil || (len(gaps) == 1) != tc.wantGap {
				t.Errorf("gaps %+v, %v", gaps, err)
			}
			j, err := h.store.AlarmJournal(t.Context(), "edge-1")
			if err != nil || j.Lost != tc.wantLost || j.Applied != 12 || !j.Exact {
				t.Errorf("journal %+v, %v", j, err)
			}
		})
	}
}

func TestIngestEpochs(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	kept, gone := s.add(report.Fired, 1), s.add(report.Fired, 2)
	talk(t, h, s)
	old := s.report()

	// The journal and the status are lost; alert 2 ended meanwhile, 1 goes on.
	s.epoch, s.journal, s.acked = uuid.NewString(), nil, 0
	delete(s.open, gone.Fingerprint)
	s.journal = append(s.journal, report.Transition{Type: report.Fired, Seq: 1, Text: 1, Via: "poll", Episode: kept})
	talk(t, h, s)
	wantTold(t, h.store, "NEW "+RecordID("edge-1", kept).String(), "NEW "+RecordID("edge-1", gone).String(), "CLEAR "+RecordID("edge-1", gone).String())
	if r := h.record(t, "edge-1", gone); r.ClearedBy != ClearedByReconcile {
		t.Errorf("record %+v", r)
	}

	// A cache that lags behind shows the epoch before.
	head := s.report().Head
	old.Current = func(context.Context) (report.AlertsHead, error) { return head, nil }
	r, err := h.ingest.Apply(t.Context(), old)
	if err != nil || r.Answer.Epoch != s.epoch || r.Answer.Seq != 1 || r.Again == 0 {
		t.Errorf("report of an epoch that is over: %+v, %v", r, err)
	}
	if n := len(told(t, h.store)); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

func TestIngestPages(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	s.pages = 10
	for i := range 45 {
		s.add(report.Fired, i)
	}
	s.acked, s.tail = 45, 0 // by a store that is lost, and nothing can be sent again
	talk(t, h, s)
	open, err := h.store.AllOpenAlarms(t.Context(), "edge-1")
	if err != nil || len(open) != 45 {
		t.Fatalf("%d open alarms, %v, want 45", len(open), err)
	}
	// One that the agent does not know, in the middle.
	lost := report.OpenAlert{Episode: report.Episode{Fingerprint: fingerprint(20), Starts: s.open[fingerprint(20)].Starts}}
	delete(s.open, lost.Fingerprint)
	talk(t, h, s)
	if r := h.record(t, "edge-1", lost.Episode); r.Active() {
		t.Errorf("alarm is open that the agent does not know: %+v", r)
	}
}

func TestIngestReopens(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	e := s.add(report.Fired, 1)
	talk(t, h, s)
	if err := h.ingest.Detach(t.Context(), "edge-1"); err != nil {
		t.Fatal(err)
	}
	if r := h.record(t, "edge-1", e); r.Active() || r.ClearedBy != ClearedByDetach {
		t.Errorf("record after detach: %+v", r)
	}
	if clusters, err := h.store.OpenAlarmClusters(t.Context()); err != nil || len(clusters) != 0 {
		t.Errorf("clusters with open alarms: %q, %v", clusters, err)
	}
	talk(t, h, s) // attached again
	if r := h.record(t, "edge-1", e); !r.Active() || r.ClearedBy != "" || r.Version != 3 {
		t.Errorf("record after attaching again: %+v", r)
	}
	if cleared, err := h.store.ClearedAlarms(t.Context(), time.Time{}, farFuture, nil, 10); err != nil || len(cleared) != 0 {
		t.Errorf("cleared alarms: %v, %v", cleared, err)
	}
}

// TestIngestRandom lets agents and the hub be interrupted at random and compares in the end
// what was told with what happened.
func TestIngestRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { ingestAtRandom(t, newHub(t, store.Embedded), seed, 400) })
	}
}

func ingestAtRandom(t *testing.T, h *hub, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 1))
	var spokes []*spoke
	want := make(map[string][]string) // by record
	for i := range 3 {
		s := newSpoke(fmt.Sprintf("edge-%d", i))
		s.window = 1 + r.IntN(40)
		s.pages = []int{0, 5}[r.IntN(2)]
		spokes = append(spokes, s)
	}
	for range steps {
		s := spokes[r.IntN(len(spokes))]
		switch r.IntN(6) {
		case 0, 1, 2:
			i := r.IntN(30)
			kind, event := report.Fired, "NEW"
			if _, open := s.open[fingerprint(i)]; open {
				kind, event = report.Resolved, "CLEAR"
				if r.IntN(3) == 0 {
					kind, event = report.Updated, "CHANGE"
				}
			}
			id := RecordID(s.cluster, s.add(kind, i)).String()
			want[id] = append(want[id], event)
		case 3: // the hub dies between the change and its answer
			if _, err := h.ingest.Apply(t.Context(), s.report()); err != nil {
				t.Fatal(err)
			}
			h.ingest.clusters = make(map[string]*intake)
			h.lead(t)
		case 4: // the answer arrives
			result, err := h.ingest.Apply(t.Context(), s.report())
			if err != nil {
				t.Fatal(err)
			}
			s.heed(result.Answer)
		case 5: // the agent starts anew, from an older answer
			s.acked -= min(s.acked, uint64(r.IntN(5)))
		}
	}
	for _, s := range spokes {
		talk(t, h, s)
		open, err := h.store.OpenAlarms(t.Context(), s.cluster, store.FromAgent, "", "")
		if err != nil || len(open) != len(s.open) {
			t.Errorf("%s: %d open alarms, %v, want %d", s.cluster, len(open), err, len(s.open))
		}
	}
	got := make(map[string][]string)
	for _, text := range told(t, h.store) {
		var event, id string
		if _, err := fmt.Sscan(text, &event, &id); err != nil {
			t.Fatal(err)
		}
		got[id] = append(got[id], event)
	}
	for id, events := range want {
		if !slices.Equal(got[id], events) {
			t.Errorf("seed %d: alarm %s: told %v, want %v", seed, id, got[id], events)
		}
	}
	if len(got) != len(want) {
		t.Errorf("seed %d: %d alarms were told of, want %d", seed, len(got), len(want))
	}
	if gaps, err := h.store.AlarmGaps(t.Context()); err != nil || len(gaps) != 0 {
		t.Errorf("seed %d: gaps %v, %v", seed, gaps, err)
	}
}

func TestIngestClocks(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	e := s.add(report.Fired, 1)
	s.journal = append(s.journal, report.Transition{Type: report.Resolved, Seq: 2, Text: 1, Episode: e, Ends: e.Starts - 3_600_000})
	delete(s.open, e.Fingerprint)
	talk(t, h, s)
	r := h.record(t, "edge-1", e)
	if !r.Cleared.Equal(r.Raised) || !r.Received.Equal(h.clock) {
		t.Errorf("an alarm that ended before it began: raised %s, cleared %s, received %s", r.Raised, r.Cleared, r.Received)
	}
}

// TestIngestBatches applies a report that is more than one script takes.
func TestIngestBatches(t *testing.T) {
	h, s := newHub(t, store.Embedded), newSpoke("edge-1")
	s.window = 10_000
	for i := range 900 {
		s.add(report.Fired, i)
	}
	result, err := h.ingest.Apply(t.Context(), s.report())
	if err != nil || result.Answer.Seq != 900 {
		t.Fatalf("%+v, %v", result, err)
	}
	if n := len(told(t, h.store)); n != 900 {
		t.Errorf("%d events, want 900", n)
	}
}

func TestFiguresThatAreMadeUp(t *testing.T) {
	if got := plausible(1 << 63); got > 1_000_000 {
		t.Errorf("%v is counted", got)
	}
}
