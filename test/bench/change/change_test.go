// Package change measures how long the API lags behind a machine: from a change on a
// managed cluster to the answer of a GET that has it.
//
// The environment is the real one of test/ocloud. The add-on's own pauses are switched
// off (REPORT_DEBOUNCE and REPORT_MIN_INTERVAL 0s), for they are a choice and not a cost:
// in production a change waits for them, 10 s and up to a minute, on top of what is
// measured here.
//
// Run it with
//
//	go test -bench . ./test/bench/change
//
// for 30 changes of each kind, or as many as -benchtime says.
//
// Each benchmark prints the 50th and the 99th percentile in milliseconds: of the way to
// the hub (the report stands in the ManagedClusterAddOn), of the rest (ingest, until the
// API shows it), and of the whole. The clock starts when the spoke's apiserver has
// confirmed the change. The legs are seen by polling, so each carries a millisecond or
// two of our own.
package change

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/pkg/hardware"
	"github.com/o2ims/o2ims/pkg/report"
	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// site is the managed cluster with the node that changes.
const site, node = "site", "r610"

// cloud is the environment of this run; nil when no benchmark was asked for.
var cloud *ocloud.OCloud

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		fmt.Println("skipped: nothing to measure without -bench")
		os.Exit(0)
	}
	if times := flag.Lookup("test.benchtime"); times.Value.String() == times.DefValue {
		if err := times.Value.Set("30x"); err != nil { // a second would be a dozen
			panic(err)
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	if cloud, err = start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "environment:", err)
		return 1
	}
	defer cloud.Stop()
	return m.Run()
}

func start(ctx context.Context) (*ocloud.OCloud, error) {
	cloud, err := ocloud.Start(ctx, ocloud.Options{
		Progress: os.Stderr,
		Values: map[string]any{"addOnDeploymentConfig": map[string]any{"spec": map[string]any{
			"customizedVariables": []any{
				map[string]any{"name": "PROBE_INTERVAL", "value": "1h"}, // the benchmark plays the probe
				map[string]any{"name": "REPORT_DEBOUNCE", "value": "0s"},
				map[string]any{"name": "REPORT_MIN_INTERVAL", "value": "0s"},
			},
		}}},
	})
	if err != nil {
		return nil, err
	}
	if err := join(ctx, cloud); err != nil {
		cloud.Stop()
		return nil, err
	}
	return cloud, nil
}

// join brings up a managed cluster of three nodes.
func join(ctx context.Context, cloud *ocloud.OCloud) error {
	nodes, err := machines.Snapshots(ctx, filepath.Join(cloud.Env.Dir(), "machines"))
	if err != nil {
		return err
	}
	if _, err := cloud.AddSpoke(ctx, site, nodes...); err != nil {
		return err
	}
	if err := cloud.EnableAddOn(ctx, site); err != nil {
		return err
	}
	return cloud.Eventually(ctx, "the probes' findings in the API", func(ctx context.Context) error {
		servers, err := cloud.Servers(ctx, site)
		if err != nil {
			return err
		}
		for _, m := range nodes {
			if len(servers[m.Name].ElementsOf("port")) == 0 {
				return fmt.Errorf("%s: %w", m.Name, ocloud.ErrNotYet)
			}
		}
		return nil
	})
}

// BenchmarkNodeLabel changes a label of a Node.
func BenchmarkNodeLabel(b *testing.B) {
	spoke := cloud.Spoke(site).Client()
	measure(b, func(ctx context.Context, value string) (string, error) {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"example.org/turn":%q}}}`, value)
		object := &corev1.Node{}
		object.Name = node
		return `"example.org/turn":"` + value + `"`, spoke.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))
	})
}

// BenchmarkProbeResult changes what a node probe left, as if the machine had another
// serial number.
func BenchmarkProbeResult(b *testing.B) {
	spoke := cloud.Spoke(site).Client()
	measure(b, func(ctx context.Context, value string) (string, error) {
		var cm corev1.ConfigMap
		if err := spoke.Get(ctx, client.ObjectKey{Namespace: ocloud.AgentNamespace, Name: "o2ims-probe-" + node}, &cm); err != nil {
			return "", err
		}
		var observations []hardware.Observation
		if err := json.Unmarshal([]byte(cm.Data["observations.json"]), &observations); err != nil {
			return "", err
		}
		for i := range observations {
			observations[i].Machine.Server.Serial = value
		}
		text, err := json.Marshal(observations)
		if err != nil {
			return "", err
		}
		cm.Data["observations.json"] = string(text)
		return `"globalAssetId":"` + value + `"`, spoke.Update(ctx, &cm)
	})
}

// lag is how long one change took, from its beginning.
type lag struct{ hub, api time.Duration }

// measure makes changes, each with a value of its own, and times them. change returns
// the text by which the API shows that it knows.
func measure(b *testing.B, change func(ctx context.Context, value string) (text string, err error)) {
	ctx := b.Context()
	server, err := cloud.Servers(ctx, site)
	if err != nil {
		b.Fatal(err)
	}
	path := ocloud.InventoryV1 + "/resourcePools/" + server[node].PoolID + "/resources/" + server[node].ID
	hub, err := client.NewWithWatch(cloud.Env.Hub.RESTConfig(), client.Options{Scheme: cloud.Env.Hub.Client().Scheme()})
	if err != nil {
		b.Fatal(err)
	}
	addons, err := hub.Watch(ctx, &addonv1beta1.ManagedClusterAddOnList{}, client.InNamespace(site), client.MatchingFields{"metadata.name": report.AddOnName})
	if err != nil {
		b.Fatal(err)
	}
	defer addons.Stop()

	var lags []lag
	for b.Loop() {
		l, err := once(ctx, addons, path, func(ctx context.Context) (string, error) {
			return change(ctx, fmt.Sprintf("turn-%d", time.Now().UnixNano()))
		})
		if err != nil {
			b.Fatal(err)
		}
		lags = append(lags, l)
	}
	show(b, lags)
}

// once makes one change and follows it.
func once(ctx context.Context, addons watch.Interface, path string, change func(context.Context) (string, error)) (lag, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	before, err := cloud.Report(ctx, site)
	if err != nil {
		return lag{}, err
	}
	began := time.Now()
	text, err := change(ctx)
	if err != nil {
		return lag{}, err
	}
	began = began.Add(time.Since(began)) // when the apiserver confirmed it
	arrived := make(chan time.Duration, 1)
	go func() { arrived <- onHub(ctx, addons, before.Head.SHA256, began) }()

	l := lag{}
	if l.api, err = inAPI(ctx, path, text, began); err != nil {
		return lag{}, err
	}
	l.hub = <-arrived
	return l, nil
}

// onHub waits until another report stands in the add-on.
func onHub(ctx context.Context, addons watch.Interface, old string, began time.Time) time.Duration {
	for {
		select {
		case <-ctx.Done():
			return time.Since(began)
		case event := <-addons.ResultChan():
			at := time.Since(began)
			addon, ok := event.Object.(*addonv1beta1.ManagedClusterAddOn)
			if !ok {
				continue
			}
			for _, c := range addon.Status.Conditions {
				head, err := report.ParseHead(c.Message)
				if c.Type == report.KindInventory.HeadType() && err == nil && head.SHA256 != old {
					return at
				}
			}
		}
	}
}

// inAPI asks for the server until the answer has the text.
func inAPI(ctx context.Context, path, text string, began time.Time) (time.Duration, error) {
	for {
		var server json.RawMessage
		if err := cloud.Get(ctx, path, &server); err != nil {
			return 0, err
		}
		if strings.Contains(string(server), text) {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s does not show %s: %w", path, text, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

func show(b *testing.B, lags []lag) {
	for _, leg := range []struct {
		name string
		of   func(lag) time.Duration
	}{
		{"spoke-to-hub", func(l lag) time.Duration { return l.hub }},
		{"hub-to-API", func(l lag) time.Duration { return l.api - l.hub }},
		{"spoke-to-API", func(l lag) time.Duration { return l.api }},
	} {
		var all []time.Duration
		for _, l := range lags {
			all = append(all, leg.of(l))
		}
		slices.Sort(all)
		for _, p := range []int{50, 99} {
			at := all[(len(all)*p+99)/100-1] // the nearest rank
			b.ReportMetric(float64(at.Microseconds())/1000, fmt.Sprintf("ms-%s-p%d", leg.name, p))
		}
	}
	b.ReportMetric(0, "ns/op") // one change at a time says nothing of throughput
}
