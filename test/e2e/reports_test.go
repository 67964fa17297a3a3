package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// TestSomebodyElseWritesTheReport lets others into the status that carries the reports:
// controllers that damage it, and at last a managed cluster in wrong hands.
func TestSomebodyElseWritesTheReport(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const rogue = "rogue"
	set := must[map[string]machines.Machine](t)(snapshots(ctx, setOfRogue))
	spoke := join(ctx, t, rogue, set["r610-5"], set["ryzen-5"])

	t.Run("others' conditions survive ours", func(t *testing.T) {
		before := otherConditions(ctx, t, rogue)
		cordonAndBack(ctx, t, rogue, "r610-5")
		acknowledged(ctx, t, rogue)
		after := otherConditions(ctx, t, rogue)
		if len(before) == 0 {
			t.Fatal("OCM has no conditions")
		}
		for kind := range before {
			if after[kind] == "" {
				t.Errorf("condition %s is gone: %v, before %v", kind, after, before)
			}
		}
	})
	t.Run("damage is mended", func(t *testing.T) { damage(ctx, t, rogue) })
	t.Run("enabled once more", func(t *testing.T) {
		before := headOf(ctx, t, rogue)
		_, err := cloud.Env.Clusteradm(ctx, "addon", "enable", "--names", "o2ims", "--clusters", rogue, "--annotate", "example.org/team=ran")
		if err != nil {
			t.Fatal(err)
		}
		addon := must[*addonv1beta1.ManagedClusterAddOn](t)(cloud.AddOn(ctx, rogue))
		if got := addon.Annotations["example.org/team"]; got != "ran" {
			t.Errorf("annotations = %v", addon.Annotations)
		}
		if got := headOf(ctx, t, rogue); got != before {
			t.Errorf("report is %s, before %s", got, before)
		}
	})
	t.Run("what an agent may do", func(t *testing.T) {
		mayBeRefused(rogue)
		limits(ctx, t, agentOf(ctx, t, spoke), rogue)
	})
	t.Run("a hostile cluster", func(t *testing.T) {
		agent := agentOf(ctx, t, spoke)
		spoke.Kubelet.Stop() // and with it the true agent
		hostile(ctx, t, agent, rogue)
	})
}

// damage writes into the report as a controller with a fault would, and waits until the
// agent has mended it. The hub goes on with the last good report meanwhile.
func damage(ctx context.Context, t *testing.T, cluster string) {
	t.Helper()
	before := servers(ctx, t, cluster)
	for _, tc := range []struct {
		name string
		do   func([]metav1.Condition) []metav1.Condition
	}{
		{"all of ours removed", func(list []metav1.Condition) []metav1.Condition { return without(list, isOurs) }},
		{"a part removed", func(list []metav1.Condition) []metav1.Condition {
			return without(list, func(c metav1.Condition) bool { return c.Type == report.KindInventory.PartType(0) })
		}},
		{"a part changed", func(list []metav1.Condition) []metav1.Condition {
			meta.FindStatusCondition(list, report.KindInventory.PartType(0)).Message = "AAAA"
			return list
		}},
		{"a part too many", func(list []metav1.Condition) []metav1.Condition {
			extra := *meta.FindStatusCondition(list, report.KindInventory.PartType(0))
			extra.Type = report.KindInventory.PartType(1)
			return append(list, extra)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			good := headOf(ctx, t, cluster)
			others := otherConditions(ctx, t, cluster)
			addon := must[*addonv1beta1.ManagedClusterAddOn](t)(cloud.AddOn(ctx, cluster))
			list := tc.do(addon.Status.Conditions)
			patch := must[[]byte](t)(json.Marshal(map[string]any{"status": map[string]any{"conditions": list}}))
			if err := cloud.Env.Hub.Client().Status().Patch(ctx, addon, client.RawPatch(types.MergePatchType, patch)); err != nil {
				t.Fatal(err)
			}
			sameIDs(t, "while it is damaged", servers(ctx, t, cluster), before)
			eventually(ctx, t, "the report to be mended", func(ctx context.Context) error {
				rep, err := cloud.Report(ctx, cluster)
				if err != nil {
					return err
				}
				return is("digest", rep.Head.SHA256, good.SHA256)
			})
			acknowledged(ctx, t, cluster)
			if got := otherConditions(ctx, t, cluster); !maps.Equal(got, others) {
				t.Errorf("others' conditions are %v, before %v", got, others)
			}
			sameIDs(t, "mended", servers(ctx, t, cluster), before)
		})
	}
}

func without(list []metav1.Condition, gone func(metav1.Condition) bool) []metav1.Condition {
	var rest []metav1.Condition
	for _, c := range list {
		if !gone(c) {
			rest = append(rest, c)
		}
	}
	return rest
}

// agentOf is a client of the hub with the credentials of a managed cluster's agent.
func agentOf(ctx context.Context, t *testing.T, s *ocloud.Spoke) client.Client {
	t.Helper()
	dir := t.TempDir()
	for name, text := range credentials(ctx, t, s, ocloud.AgentNamespace).Data {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	return must[client.Client](t)(client.New(config, client.Options{Scheme: cloud.Env.Hub.Client().Scheme()}))
}

// limits tries what an agent that was taken over would try.
func limits(ctx context.Context, t *testing.T, agent client.Client, cluster string) {
	t.Helper()
	addon := func(cluster, name string) *addonv1beta1.ManagedClusterAddOn {
		return &addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: name}}
	}
	status := client.RawPatch(types.MergePatchType, []byte(`{"status":{"namespace":"elsewhere"}}`))
	spec := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`))
	list := func(o client.ObjectList, opts ...client.ListOption) error { return agent.List(ctx, o, opts...) }
	for _, tc := range []struct {
		name string
		err  error
	}{
		{"its add-on, beside the status", agent.Patch(ctx, addon(cluster, "o2ims"), spec)},
		{"the status of another add-on", agent.Status().Patch(ctx, addon(cluster, "other"), status)},
		{"another cluster's report", agent.Status().Patch(ctx, addon(edge, "o2ims"), status)},
		{"to read another cluster's report", agent.Get(ctx, client.ObjectKeyFromObject(addon(edge, "o2ims")), addon(edge, "o2ims"))},
		{"to delete its add-on", agent.Delete(ctx, addon(cluster, "o2ims"))},
		{"the add-ons of all clusters", list(&addonv1beta1.ManagedClusterAddOnList{})},
		{"all add-ons of its cluster", list(&addonv1beta1.ManagedClusterAddOnList{}, client.InNamespace(cluster))},
		{"secrets", list(&corev1.SecretList{}, client.InNamespace(cluster))},
		{"nodes of the hub", list(&corev1.NodeList{})},
	} {
		if !apierrors.IsForbidden(tc.err) {
			t.Errorf("%s: %v, want it forbidden", tc.name, tc.err)
		}
	}
	own := &addonv1beta1.ManagedClusterAddOnList{}
	if err := list(own, client.InNamespace(cluster), client.MatchingFields{"metadata.name": "o2ims"}); err != nil || len(own.Items) != 1 {
		t.Errorf("its own add-on: %d, %v", len(own.Items), err)
	}
}

// hostile writes reports as a managed cluster in wrong hands would. Each is refused for
// its own reason; the cluster's last good report stands, and the other clusters never
// notice.
func hostile(ctx context.Context, t *testing.T, agent client.Client, cluster string) {
	t.Helper()
	good := must[report.Report](t)(cloud.Report(ctx, cluster))
	mine, others := servers(ctx, t, cluster), servers(ctx, t, edge)
	body := must[[]byte](t)(good.Inventory.Canonical())

	for _, tc := range []struct {
		name   string
		forge  func(t *testing.T) []metav1.Condition
		reason string
	}{
		{"a bomb that says how large it is", func(t *testing.T) []metav1.Condition {
			return forged(t, bytes.Repeat([]byte(" "), 64<<20), nil)
		}, report.ReasonTooLarge},
		{"a bomb that lies", func(t *testing.T) []metav1.Condition { return bomb(t, 64<<20, 1000) }, report.ReasonCorrupt},
		{"a wrong length", func(t *testing.T) []metav1.Condition {
			return forged(t, body, func(h *report.Head) { h.Raw++ })
		}, report.ReasonCorrupt},
		{"a wrong digest", func(t *testing.T) []metav1.Condition {
			return forged(t, body, func(h *report.Head) { h.SHA256 = strings.Repeat("0", 64) })
		}, report.ReasonCorrupt},
		{"a version of the future", func(t *testing.T) []metav1.Condition {
			return forged(t, body, func(h *report.Head) { h.V = report.Version + 1 })
		}, report.ReasonFutureVersion},
		{"the report of another cluster", func(t *testing.T) []metav1.Condition {
			stolen := must[report.Report](t)(cloud.Report(ctx, edge)).Inventory
			return honest(t, stolen)
		}, report.ReasonOtherCluster},
		{"one machine twice", func(t *testing.T) []metav1.Condition {
			twice := good.Inventory
			twice.Nodes = append(twice.Nodes[:1:1], twice.Nodes[0])
			return honest(t, twice)
		}, report.ReasonDuplicateIdentity},
		{"a million elements", func(t *testing.T) []metav1.Condition {
			many := strings.TrimSuffix(strings.Repeat(`{},`, 1_000_000), ",")
			text := fmt.Sprintf(`{"cluster":%q,"nodes":[{"elements":[%s],"key":"k","name":"n","server":{}}],"v":1}`, cluster, many)
			return forged(t, []byte(text), func(h *report.Head) { h.Nodes, h.Resources = 1, 1_000_001 })
		}, report.ReasonTooLarge},
		{"nonsense", func(t *testing.T) []metav1.Condition {
			return []metav1.Condition{{Type: report.KindInventory.HeadType(), Status: metav1.ConditionTrue, Reason: "X", Message: "…", LastTransitionTime: metav1.Now()}}
		}, report.ReasonMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			writeAs(ctx, t, agent, cluster, tc.forge(t))
			answered(ctx, t, cluster, metav1.ConditionFalse, tc.reason)
			sameIDs(t, "of the cluster itself", servers(ctx, t, cluster), mine)
			sameIDs(t, "of another cluster", servers(ctx, t, edge), others)
			if got := servers(ctx, t, cluster)["r610-5"].Extensions.Reporting.State; got != "ReportRejected" && got != "AgentUnavailable" {
				t.Errorf("reporting state is %q", got)
			}
		})
	}

	t.Run("a machine of another cluster", func(t *testing.T) {
		stolen := good.Inventory
		stolen.Nodes = append(stolen.Nodes[:0:0], stolen.Nodes...)
		for _, m := range must[report.Report](t)(cloud.Report(ctx, edge)).Inventory.Nodes {
			if m.Name == edgeDell {
				stolen.Nodes[0].Key = m.Key
			}
		}
		writeAs(ctx, t, agent, cluster, honest(t, stolen))
		answered(ctx, t, cluster, metav1.ConditionTrue, report.ReasonIngested)
		thief := servers(ctx, t, cluster)[stolen.Nodes[0].Name]
		if victim := others[edgeDell]; thief.Extensions.DuplicateOf != victim.ID || thief.ID == victim.ID {
			t.Errorf("the thief has resourceId %s, duplicate of %q; the machine is %s", thief.ID, thief.Extensions.DuplicateOf, victim.ID)
		}
		sameIDs(t, "of the victim", servers(ctx, t, edge), others)
	})
	t.Run("the truth again", func(t *testing.T) {
		writeAs(ctx, t, agent, cluster, honest(t, good.Inventory))
		answered(ctx, t, cluster, metav1.ConditionTrue, report.ReasonIngested)
		sameIDs(t, "of the cluster itself", servers(ctx, t, cluster), mine)
	})
}

func writeAs(ctx context.Context, t *testing.T, agent client.Client, cluster string, conditions []metav1.Condition) {
	t.Helper()
	object := client.ApplyConfigurationFromUnstructured(report.ApplyObject(cluster, conditions))
	err := agent.Status().Apply(ctx, object, client.FieldOwner(report.FieldManagerInventory), client.ForceOwnership)
	if err != nil {
		t.Fatal(err)
	}
}

// answered waits for what the hub says of the report.
func answered(ctx context.Context, t *testing.T, cluster string, status metav1.ConditionStatus, reason string) {
	t.Helper()
	addon := must[*addonv1beta1.ManagedClusterAddOn](t)(cloud.AddOn(ctx, cluster))
	head, _ := report.ParseHead(meta.FindStatusCondition(addon.Status.Conditions, report.KindInventory.HeadType()).Message)
	want := report.Answer(head, nil)
	eventually(ctx, t, "the hub's answer "+reason, func(ctx context.Context) error {
		addon, err := cloud.AddOn(ctx, cluster)
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(addon.Status.Conditions, report.KindInventory.IngestedType())
		if c == nil || c.Status != status || c.Reason != reason || c.Message != want.String() {
			return fmt.Errorf("condition %+v, want %s %s %s", c, status, reason, want)
		}
		return nil
	})
}

// honest is a well-formed report of an inventory, whatever that says.
func honest(t *testing.T, inv report.Inventory) []metav1.Condition {
	t.Helper()
	body := must[[]byte](t)(inv.Canonical())
	return forged(t, body, func(h *report.Head) { h.Nodes, h.Resources = len(inv.Nodes), inv.Resources() })
}

// forged frames a body, and lets change spoil the head.
func forged(t *testing.T, body []byte, change func(*report.Head)) []metav1.Condition {
	t.Helper()
	frame := must[report.Frame](t)(report.NewFrame(body))
	return conditionsOf(frame, change)
}

// bomb is a frame that grows to size bytes and does not say so.
func bomb(t *testing.T, size, claimed int) []metav1.Condition {
	t.Helper()
	var packed bytes.Buffer
	w := must[*zstd.Encoder](t)(zstd.NewWriter(&packed))
	for range size >> 20 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(packed.Bytes())
	return conditionsOf(report.Frame{
		Parts: []string{text}, Raw: claimed, Bytes: packed.Len(), SHA256: strings.Repeat("0", 64),
	}, nil)
}

func conditionsOf(frame report.Frame, change func(*report.Head)) []metav1.Condition {
	now := metav1.Now()
	head := report.Head{Detail: report.DetailFull, Envelope: report.Envelope{
		V: report.Version, Epoch: uuid.NewString(), Seq: 1, Observed: now.UTC().Truncate(time.Second),
		Parts: len(frame.Parts), Raw: frame.Raw, Bytes: frame.Bytes, SHA256: frame.SHA256,
	}}
	if change != nil {
		change(&head)
	}
	list := []metav1.Condition{{
		Type: report.KindInventory.HeadType(), Status: metav1.ConditionTrue, Reason: report.HeadReported,
		Message: head.String(), LastTransitionTime: now,
	}}
	for i, text := range frame.Parts {
		list = append(list, metav1.Condition{
			Type: report.KindInventory.PartType(i), Status: metav1.ConditionTrue, Reason: "Data", Message: text, LastTransitionTime: now,
		})
	}
	return list
}
