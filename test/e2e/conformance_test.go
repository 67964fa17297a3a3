package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/o2ims/o2ims/test/contract/conformance"
	"github.com/o2ims/o2ims/test/harness"
	"github.com/o2ims/o2ims/test/ocloud"
	"github.com/o2ims/o2ims/test/port"
)

// TestConformance judges the manager as it is installed, and one that serves version 1
// alone, which is what the O-RAN SC suite expects. What a small hub has no data for is
// skipped; test/contract tries it on data made for it.
func TestConformance(t *testing.T) {
	ctx := t.Context()
	target := conformance.Target{
		URL: cloud.URL, CA: cloud.CA, Seed: 1, Monitoring: true,
		Token:       must[string](t)(cloud.Token(ctx, "test-client")),
		ReaderToken: must[string](t)(cloud.Token(ctx, "test-reader")),
	}
	t.Run("default", func(t *testing.T) { conforms(t, target, "default") })
	t.Run("v1", func(t *testing.T) {
		target.URL = startV1(ctx, t)
		conforms(t, target, "v1")
	})
}

func conforms(t *testing.T, target conformance.Target, profile string) {
	majors, err := conformance.Profile(profile)
	if err != nil {
		t.Fatal(err)
	}
	target.Majors = majors
	report, err := conformance.Run(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Failed() {
		t.Errorf("%s %s: %s\n%s", r.Name(), r.Case.Source, r.Case.Expect, r.Reason)
	}
	t.Logf("%d passed, %d failed, %d skipped; %d answers in %s", report.Count(conformance.Pass), report.Count(conformance.Fail),
		report.Count(conformance.Skip), report.Answers, report.Duration)
}

// startV1 runs a further manager, which follows the leader, and returns its URL. It shows
// the serving certificate of the others, which is good for loopback.
func startV1(ctx context.Context, t *testing.T) string {
	t.Helper()
	api, health := must[int](t)(port.Keep()), must[int](t)(port.Keep())
	url := "https://" + net.JoinHostPort("localhost", strconv.Itoa(api))
	p, err := cloud.Env.StartProcess(ctx, harness.ProcessSpec{
		Name: "manager-v1", Path: cloud.Binary(),
		Args: []string{
			"manager", "--kubeconfig=" + cloud.Env.Hub.Kubeconfig(), "--namespace=" + ocloud.Namespace, "--inventory-versions=v1", "--monitoring-versions=v1",
			"--bind-address=127.0.0.1", fmt.Sprintf("--api-port=%d", api), fmt.Sprintf("--health-port=%d", health),
			"--external-url=" + url, "--agent-image=localhost/o2ims:built-here", "--global-cloud-id=" + ocloud.GlobalCloudID,
			"--redis-url=" + cloud.Redis.URL(), anyRate, anyFailures,
		},
		Ready: func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", health), nil)
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("readyz: %s", response.Status)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(10 * time.Second) })
	return url
}
