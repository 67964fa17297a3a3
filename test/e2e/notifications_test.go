package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/o2ims/o2ims/pkg/smo/simulator"
	"github.com/o2ims/o2ims/pkg/subscription"
	"github.com/o2ims/o2ims/test/harness/kubelet"
	"github.com/o2ims/o2ims/test/ocloud"
)

// TestSubscribersHearOfEveryChange changes a node while the leader, the follower and Redis
// are killed. A subscriber of each version hears of every change, in order.
func TestSubscribersHearOfEveryChange(t *testing.T) {
	ctx := t.Context()
	smo, err := simulator.New(simulator.Options{Status: http.StatusNoContent, Quiet: true, Listen: "127.0.0.1:0", RegistrationPath: "/registration"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(smo)
	defer listener.Close()
	paths := map[string]string{} // of the callback, by version
	for _, version := range []string{"v1", "v2"} {
		paths[version] = "/" + version
		id := subscribe(ctx, t, version, listener.URL+paths[version])
		t.Cleanup(func() { unsubscribe(context.WithoutCancel(ctx), t, version, id) })
	}

	server := servers(ctx, t, edge)[edgeDell]
	spoke := cloud.Spoke(edge)
	var told []string // what the SMO must have heard of the node, in order
	turn := func(on bool) {
		cordon(ctx, t, spoke, edgeDell, on)
		state := map[bool]string{true: "LOCKED", false: "UNLOCKED"}[on]
		told = append(told, state)
		for version, path := range paths {
			eventually(ctx, t, "the SMO to hear in "+version+" that the node is "+state, func(context.Context) error {
				if heard := adminStates(smo, path, server.ID); !slices.Equal(heard, told) {
					return fmt.Errorf("it heard %v, want %v: %w", heard, told, ocloud.ErrNotYet)
				}
				return nil
			})
		}
	}
	turn(true)
	for _, blow := range []struct {
		what string
		do   func()
	}{
		{"the leader", func() { killOne(ctx, t, func(leader, _ kubelet.PodInfo) kubelet.PodInfo { return leader }) }},
		{"the follower", func() { killOne(ctx, t, func(_, follower kubelet.PodInfo) kubelet.PodInfo { return follower }) }},
		{"Redis", func() {
			cloud.Redis.Kill()
			refusedWithoutRedis(ctx, t)
			if err := cloud.Redis.Restart(ctx); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Logf("killing %s", blow.what)
		blow.do()
		turn(false)
		turn(true)
	}
	turn(false)

	for _, entry := range smo.Entries() {
		if entry.Break {
			t.Errorf("%s: the prior state is not what was told before: %s", entry.Path, entry.Body)
		}
		if strings.Contains(string(entry.Body), "profileData") {
			t.Errorf("%s: tells how a cluster is reached: %s", entry.Path, entry.Body)
		}
	}
	nothingIsMissing(ctx, t)
	if status := statusFor(ctx, t, "test-reader", http.MethodGet, subscription.AdminPath, ""); status != http.StatusForbidden {
		t.Errorf("GET %s of a reader: %d, want 403", subscription.AdminPath, status)
	}
}

// nothingIsMissing waits until the O-Cloud itself says so.
func nothingIsMissing(ctx context.Context, t *testing.T) {
	t.Helper()
	eventually(ctx, t, "nothing to be pending or missing", func(ctx context.Context) error {
		var ledger subscription.Ledger
		if err := cloud.Get(ctx, subscription.AdminPath, &ledger); err != nil {
			return err
		}
		if lost, late := ledger.Judge(); len(lost)+len(late) > 0 {
			return fmt.Errorf("lost %v, late %v: %w", lost, late, ocloud.ErrNotYet)
		}
		return nil
	})
}

// adminStates are the states of a server that a callback was told, without repetitions of
// the same notification, and without changes of something else.
func adminStates(smo *simulator.Simulator, path, server string) []string {
	var states []string
	for _, entry := range smo.Entries() {
		var body struct {
			Prior, Post struct{ Extensions ocloud.Extensions }
		}
		var raw map[string]json.RawMessage
		if json.Unmarshal(entry.Body, &raw) != nil || entry.Path != path || entry.Duplicate || !entry.Taken || !strings.HasSuffix(entry.ObjectRef, "/"+server) {
			continue
		}
		_ = json.Unmarshal(raw["priorObjectState"], &body.Prior) // absent when it was created
		_ = json.Unmarshal(raw["postObjectState"], &body.Post)   // absent when it was deleted
		if now := body.Post.Extensions.AdminState; now != body.Prior.Extensions.AdminState {
			states = append(states, now)
		}
	}
	return states
}

func killOne(ctx context.Context, t *testing.T, choose func(leader, follower kubelet.PodInfo) kubelet.PodInfo) {
	t.Helper()
	leader, follower, _ := replicas(ctx, t)
	victim := choose(leader, follower)
	if err := cloud.Hub().Kill(ocloud.Namespace, victim.Name); err != nil {
		t.Fatal(err)
	}
	restarted(ctx, t, cloud.Hub(), victim)
}

// refusedWithoutRedis shows that the inventory is served without Redis, and that nobody is
// promised what cannot be kept.
func refusedWithoutRedis(ctx context.Context, t *testing.T) {
	t.Helper()
	if status := statusFor(ctx, t, "test-client", http.MethodGet, poolsPath, ""); status != http.StatusOK {
		t.Errorf("GET %s without Redis: %d, want 200", poolsPath, status)
	}
	body := `{"callback":"http://127.0.0.1:9/nobody"}`
	if status := statusFor(ctx, t, "test-client", http.MethodPost, subscriptionsPath("v2"), body); status != http.StatusServiceUnavailable {
		t.Errorf("POST %s without Redis: %d, want 503", subscriptionsPath("v2"), status)
	}
}

func subscriptionsPath(version string) string {
	return "/o2ims-infrastructureInventory/" + version + "/subscriptions"
}

func subscribe(ctx context.Context, t *testing.T, version, callback string) string {
	t.Helper()
	body := fmt.Sprintf(`{"callback":%q,"consumerSubscriptionId":%q}`, callback, uuid.NewString())
	token := must[string](t)(cloud.Token(ctx, "test-client"))
	response := must[*http.Response](t)(cloud.Do(ctx, http.MethodPost, subscriptionsPath(version), token, strings.NewReader(body)))
	defer response.Body.Close()
	var made struct {
		ID string `json:"subscriptionId"`
	}
	if err := json.NewDecoder(response.Body).Decode(&made); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("POST %s = %s, %v", subscriptionsPath(version), response.Status, err)
	}
	return made.ID
}

func unsubscribe(ctx context.Context, t *testing.T, version, id string) {
	t.Helper()
	if status := statusFor(ctx, t, "test-client", http.MethodDelete, subscriptionsPath(version)+"/"+id, ""); status != http.StatusOK {
		t.Errorf("DELETE subscription %s: %d, want 200", id, status)
	}
}

// statusFor is the status that an account is answered with.
func statusFor(ctx context.Context, t *testing.T, account, method, path, body string) int {
	t.Helper()
	token := must[string](t)(cloud.Token(ctx, account))
	response := must[*http.Response](t)(cloud.Do(ctx, method, path, token, strings.NewReader(body)))
	defer response.Body.Close()
	return response.StatusCode
}
