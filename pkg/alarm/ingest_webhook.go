package alarm

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/spf13/pflag"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/pkg/rest"
	"github.com/o2ims/o2ims/pkg/store"
)

// WebhookPath is where an Alertmanager of the hub sends its alerts.
const WebhookPath = "/internal/v1/caas-alerts/alertmanager"

// WebhookOptions are the settings of the hub's own intake, one flag each.
type WebhookOptions struct {
	ClusterLabels []string // labels that name the managed cluster, the likeliest first
	AddedLabels   []string // labels that the way to the hub adds, beside those
}

// AddFlags registers the settings with their defaults.
func (o *WebhookOptions) AddFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.ClusterLabels, "alarm-cluster-labels", []string{"managed_cluster", "managed_cluster_name", "cluster", "clusterID"}, "labels by which alerts at the hub's Alertmanager name their managed cluster, by its name or its id, the likeliest first")
	f.StringSliceVar(&o.AddedLabels, "alarm-added-labels", []string{"receive", "tenant_id"}, "further labels that alerts get on their way to the hub's Alertmanager")
}

// Clusters knows the managed clusters. Implementations answer from memory.
type Clusters interface {
	// ClusterNamed returns the name of the ManagedCluster with this name or cluster id.
	ClusterNamed(text string) (name string, found bool)
}

// Webhook takes alerts from an Alertmanager of the hub, such as that of a fleet-wide
// observability stack.
//
// The same alert may reach us through the agent, too. The way to the hub may add labels,
// and the two then have different fingerprints. So we look for an alarm of the cluster with
// the fingerprint of the labels as they are, without those that name the cluster, and
// without those that are declared as added as well; open, or of the same moment. If there
// is none, the alarm is that of the labels without those that name the cluster, which an
// agent that comes later finds under the same ID. From then on the agent has the say: an
// alarm that an agent has reported is ended by the agent alone, and while an agent has an
// alert open, the hub's Alertmanager raises no second alarm of it. This fails where the
// hub's rules compute alerts of their own, which then are other alerts, where labels were
// rewritten on the way and not only added, and where the hub hears of an alert first and
// the agent sees it with labels that the hub counts as added.
//
// The answer is 200 once the records are durable, and 503 when Alertmanager should try
// again. An alert that cannot be used is logged and left out: refusing it would make
// Alertmanager drop the good ones beside it.
type Webhook struct {
	ingest   *Ingest
	clusters Clusters
	options  WebhookOptions
}

// NewWebhook returns the intake.
func NewWebhook(o WebhookOptions, i *Ingest, c Clusters) *Webhook {
	return &Webhook{ingest: i, clusters: c, options: o}
}

// Routes registers WebhookPath.
func (w *Webhook) Routes(r *mux.Router) {
	r.Handle(WebhookPath, rest.Methods{http.MethodPost: w.post})
}

// MaxWebhookBytes is more than Alertmanager sends of 10,000 alerts. What it sends is one
// notification however much it is, and one that is refused is lost: the server must let
// bodies of that size through.
const MaxWebhookBytes = 32 << 20

// message is what we read of Alertmanager's webhook, version 4.
type message struct {
	Version         string        `json:"version"`
	GroupKey        string        `json:"groupKey"`
	TruncatedAlerts int           `json:"truncatedAlerts"`
	Alerts          []webhookItem `json:"alerts"`
}

type webhookItem struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

func (w *Webhook) post(out http.ResponseWriter, r *http.Request) error {
	var m message
	body := http.MaxBytesReader(out, r.Body, MaxWebhookBytes)
	if err := json.NewDecoder(body).Decode(&m); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return fmt.Errorf("webhook: more than %d bytes: %w", tooLarge.Limit, fault.TooLarge)
		}
		return fmt.Errorf("webhook: %v: %w", err, fault.Invalid)
	}
	if m.TruncatedAlerts > 0 {
		slog.WarnContext(r.Context(), "the hub's Alertmanager left alerts out: set max_alerts to 0", "groupKey", m.GroupKey, "truncatedAlerts", m.TruncatedAlerts)
	}
	if err := w.take(r.Context(), m.Alerts); err != nil {
		return err
	}
	out.WriteHeader(http.StatusOK)
	return nil
}

// heard is one alert of the hub's Alertmanager as one of the managed cluster.
type heard struct {
	item   *webhookItem
	forms  []map[string]string // labels that the agent may know it by
	usual  int                 // index of the form that is taken when it knows none
	starts int64               // Unix milliseconds
	ends   int64               // the same; 0: it is firing
}

func (h *heard) episode(form int) report.Episode {
	return report.Episode{Fingerprint: labelsFingerprint(h.forms[form]), Starts: h.starts}
}

func (w *Webhook) take(ctx context.Context, items []webhookItem) error {
	byCluster := make(map[string][]heard)
	for i := range items {
		cluster, h, err := w.read(&items[i])
		if err != nil {
			slog.WarnContext(ctx, "alert of the hub's Alertmanager not used",
				"alertname", fmt.Sprintf("%.64s", items[i].Labels[nameLabel]), "error", err)
			continue
		}
		byCluster[cluster] = append(byCluster[cluster], h)
	}
	for _, cluster := range slices.Sorted(maps.Keys(byCluster)) {
		for part := range slices.Chunk(byCluster[cluster], batchTransitions) {
			if err := w.apply(ctx, cluster, part); err != nil {
				return fmt.Errorf("alerts of %q: %w", cluster, err)
			}
		}
	}
	return w.ingest.store.AwaitDurable(ctx)
}

// read makes an alert of the managed cluster of one of the hub. One that names no cluster
// that we know is about the O-Cloud, and keeps its labels.
func (w *Webhook) read(item *webhookItem) (cluster string, h heard, err error) {
	switch {
	case len(item.Labels) == 0:
		return "", heard{}, fmt.Errorf("no labels: %w", fault.Invalid)
	case item.StartsAt.UnixMilli() <= 0:
		return "", heard{}, fmt.Errorf("no startsAt: %w", fault.Invalid)
	case item.Status != "firing" && item.Status != "resolved":
		return "", heard{}, fmt.Errorf("status is neither firing nor resolved: %w", fault.Invalid)
	}
	// The labels of an alert are its identity; the rest is not worth losing it for.
	if err := (&report.AlertText{Labels: item.Labels}).Validate(); err != nil {
		return "", heard{}, err
	}
	if (&report.AlertText{Labels: item.Labels, Annotations: item.Annotations, GeneratorURL: item.GeneratorURL}).Validate() != nil {
		item.Annotations, item.GeneratorURL = nil, ""
	}
	h = heard{item: item, forms: []map[string]string{item.Labels}, starts: item.StartsAt.UnixMilli()}
	for _, name := range w.options.ClusterLabels {
		if known, found := w.clusters.ClusterNamed(item.Labels[name]); found && item.Labels[name] != "" {
			cluster = known
			h.forms = append(h.forms, without(item.Labels, w.options.ClusterLabels), without(item.Labels, w.options.ClusterLabels, w.options.AddedLabels))
			h.usual = 1
			break
		}
	}
	if item.Status == "resolved" {
		ends := item.EndsAt
		if ends.UnixMilli() <= 0 {
			ends = w.ingest.now()
		}
		h.ends = ends.UnixMilli()
	}
	return cluster, h, nil
}

// without leaves labels out.
func without(labels map[string]string, names ...[]string) map[string]string {
	rest := maps.Clone(labels)
	for _, name := range slices.Concat(names...) {
		delete(rest, name)
	}
	return rest
}

// labelsFingerprint is the fingerprint that Alertmanager gives a set of labels: FNV-1a over
// names and values in order of name, each followed by a byte that no text has.
func labelsFingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		_, _ = h.Write([]byte(name + "\xff" + labels[name] + "\xff")) // a hash takes everything
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, h.Sum64()))
}

// apply brings what was heard of one cluster into the store. Any replica may do so:
// versions keep it from undoing what others write.
func (w *Webhook) apply(ctx context.Context, cluster string, part []heard) error {
	for range patience {
		err := w.try(ctx, cluster, part)
		if !errors.Is(err, store.ErrAlarmsMoved) {
			return err
		}
	}
	return fmt.Errorf("records are changed by others all the time: %w", fault.Unavailable)
}

func (w *Webhook) try(ctx context.Context, cluster string, part []heard) error {
	open, err := w.ingest.store.AllOpenAlarms(ctx, cluster)
	if err != nil {
		return err
	}
	byFingerprint := make(map[string]store.OpenAlarm, len(open))
	for _, o := range open {
		if o.Origin == store.FromHub || o.Origin == store.FromAgent {
			byFingerprint[o.Fingerprint] = o
		}
	}
	b := newBatch(cluster)
	ids := make([][]uuid.UUID, len(part)) // of each alert's forms
	for i := range part {
		for form := range part[i].forms {
			e := part[i].episode(form)
			id := RecordID(cluster, e)
			if o, is := byFingerprint[e.Fingerprint]; is {
				id = o.ID // whatever the senders say when it fired
			}
			ids[i] = append(ids[i], id)
		}
	}
	if err := b.read(ctx, w.ingest.store, slices.Concat(ids...)); err != nil {
		return err
	}
	for i := range part {
		h := &part[i]
		form := slices.IndexFunc(ids[i], func(id uuid.UUID) bool { return b.record(id).Version > 0 })
		if form < 0 {
			form = h.usual
		}
		w.step(b, b.record(ids[i][form]), cluster, h, form)
	}
	if !b.changed() {
		return nil
	}
	out := b.write()
	if err := w.ingest.store.WriteAlarms(ctx, out); err != nil {
		return err
	}
	w.ingest.meters.wrote(&out)
	return nil
}

func (w *Webhook) step(b *batch, r Record, cluster string, h *heard, form int) {
	text := &report.AlertText{Labels: h.forms[form], Annotations: h.item.Annotations, GeneratorURL: h.item.GeneratorURL}
	now := w.ingest.now().UTC().Truncate(time.Millisecond)
	switch {
	case r.Version == 0:
		r = w.ingest.mapper.raise(news{cluster: cluster, episode: h.episode(form), text: text, via: ViaHub, received: now})
		b.put(r, Event{true, EventNew})
		if h.ends != 0 {
			r = b.record(r.ID)
			end(&r, millis(h.ends), ClearedByAlert, false)
			b.put(r, Event{true, EventClear})
		}
	case !r.Active() || originOf(&r) != store.FromHub || r.Manual:
		// Repeated, or the agent's.
	case h.ends != 0 && h.ends >= r.Raised.UnixMilli():
		end(&r, millis(h.ends), ClearedByAlert, false)
		b.put(r, Event{true, EventClear})
	case h.ends == 0:
		if w.ingest.mapper.refresh(&r, text, false, now) {
			b.put(r, Event{true, EventChange})
		}
	}
}
