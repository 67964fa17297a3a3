package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/rest"
)

const clusterToken = "header.very-secret.signature"

// vault has a token for edge-1, and counts who asks.
type vault struct {
	err   error
	token string
	asked []string
}

func (v *vault) ClusterToken(_ context.Context, cluster string) ([]byte, time.Time, error) {
	v.asked = append(v.asked, cluster)
	if cluster != "edge-1" {
		return nil, time.Time{}, fmt.Errorf("secret %s/x: %w", cluster, fault.NotFound)
	}
	return []byte(v.token), time.Date(2026, 11, 22, 12, 0, 0, 0, time.FixedZone("", 3600)), v.err
}

// ask returns the answer of an API that has credentials, and what the audit log is told.
func ask(t *testing.T, m *Model, v *vault, may bool, method, path string, headers ...string) (*httptest.ResponseRecorder, *rest.Audit) {
	t.Helper()
	o := APIOptions{Versions: []string{"v1", "v2"}}
	if v != nil {
		o.Credentials = v
	}
	router := mux.NewRouter().SkipClean(true)
	NewAPI(m, &access{allowed: may}, o, rest.NewPager(rest.PagingOptions{Size: 100}, []byte("a key of replicas"))).Routes(router)
	r := httptest.NewRequest(method, BasePath+path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	ctx, told := rest.WithAudit(r.Context())
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "no-store") // as the server does
	router.ServeHTTP(w, rest.Normalize(r.WithContext(ctx)))
	return w, told
}

func managerPath(cluster string) string {
	return "/v2/deploymentManagers/" + DeploymentManagerID(oCloudID, "id-"+cluster).String()
}

// TestClusterToken: who sees a token, and in what.
func TestClusterToken(t *testing.T) {
	m := twoClusters(t)
	one := managerPath("edge-1")
	for _, tc := range []struct {
		name, path string
		may        bool
		status     int
		shown      bool
		asked      int
	}{
		{"deployer", one, true, 200, true, 1},
		{"deployer in v1", strings.Replace(one, "v2", "v1", 1), true, 200, true, 1},
		{"deployer, everything", one + "?all_fields", true, 200, true, 1},
		{"deployer, the extensions", one + "?fields=extensions", true, 200, true, 1},
		{"deployer, the token alone", one + "?fields=extensions/profileData/token", true, 200, true, 1},
		{"deployer, something else", one + "?fields=name", true, 200, false, 0},
		{"deployer, something else of the profile", one + "?fields=extensions/profileData/cluster_ca_cert", true, 200, false, 0},
		{"deployer, below the token", one + "?fields=extensions/profileData/token/x", true, 200, false, 0},
		{"deployer, without extensions", one + "?exclude_fields=extensions", true, 200, false, 0},
		{"deployer, without the token", one + "?exclude_fields=extensions/profileData/token", true, 200, false, 0},
		{"deployer, a filter that holds", one + "?filter=(eq,name,edge-1)", true, 200, true, 1},
		{"deployer, a filter that does not", one + "?filter=(eq,name,edge-2)", true, 404, false, 0},
		{"deployer, guessing", one + "?filter=(cont,extensions/profileData/token,secret)", true, 404, false, 0},
		{"deployer, guessing the rest", one + "?filter=(ncont,extensions/profileData/token,secret)", true, 200, true, 1},
		{"deployer, a cluster without one", managerPath("edge-2"), true, 200, false, 1},
		{"deployer, a list", "/v2/deploymentManagers?all_fields", true, 200, false, 0},
		{"deployer, a list of one", "/v2/deploymentManagers?filter=(eq,name,edge-1)&fields=extensions/profileData/token", true, 200, false, 0},
		{"deployer, a list, guessing", "/v2/deploymentManagers?filter=(cont,extensions/profileData/token,secret)&explain", true, 200, false, 0},
		{"reader", one, false, 200, false, 0},
		{"reader, everything", one + "?all_fields", false, 200, false, 0},
		{"reader, the token", one + "?fields=extensions/profileData/token", false, 200, false, 0},
		{"reader, guessing", one + "?filter=(cont,extensions/profileData/token,secret)", false, 404, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := &vault{token: clusterToken}
			w, told := ask(t, m, v, tc.may, http.MethodGet, tc.path)
			if shown := strings.Contains(w.Body.String(), clusterToken); w.Code != tc.status || shown != tc.shown {
				t.Fatalf("%d, the token is shown: %t, want %d, %t: %s", w.Code, shown, tc.status, tc.shown, w.Body)
			}
			if len(v.asked) != tc.asked {
				t.Errorf("the Secret was read %d times, want %d", len(v.asked), tc.asked)
			}
			if told.Credentials != tc.shown {
				t.Errorf("audited as showing credentials: %t, want %t", told.Credentials, tc.shown)
			}
			if strings.Contains(tc.name, "guessing") && strings.Contains(w.Header().Get("X-Total-Count"), "1") {
				t.Errorf("a filter finds the token: X-Total-Count %s", w.Header().Get("X-Total-Count"))
			}
			if !tc.shown {
				return
			}
			if cache, tag := w.Header().Get("Cache-Control"), w.Header().Get("ETag"); cache != "no-store" || tag != "" {
				t.Errorf("Cache-Control %q, ETag %q, want no-store and none", cache, tag)
			}
			var got struct {
				Extensions struct {
					ProfileData struct {
						CA         string    `json:"cluster_ca_cert"`
						Token      string    `json:"token"`
						Expiration time.Time `json:"token_expiration"`
					} `json:"profileData"`
				} `json:"extensions"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			p := got.Extensions.ProfileData
			if alone := strings.Contains(tc.path, "token"); p.Token != clusterToken || !alone && (p.CA != "PEM of edge-1" || !strings.Contains(w.Body.String(), `"token_expiration":"2026-11-22T11:00:00Z"`)) {
				t.Errorf("profileData %+v in %s", p, w.Body)
			}
		})
	}
}

// TestClusterTokenLeavesNoTrace: not in what is announced, logged, or answered to others, and
// what was answered without it does not stand for what is answered with it.
func TestClusterTokenLeavesNoTrace(t *testing.T) {
	logged := new(bytes.Buffer)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	m := twoClusters(t)
	one := managerPath("edge-1")

	without, _ := ask(t, m, nil, true, http.MethodGet, one)
	tag := without.Header().Get("ETag")
	if tag == "" {
		t.Fatal("no ETag without a token")
	}
	for _, header := range []string{tag, "*", "W/" + tag} {
		w, _ := ask(t, m, &vault{token: clusterToken}, true, http.MethodGet, one, "If-None-Match", header)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), clusterToken) {
			t.Errorf("If-None-Match %s: %d %s, want it answered with the token", header, w.Code, w.Body)
		}
	}
	after, _ := ask(t, m, nil, true, http.MethodGet, one)
	if after.Header().Get("ETag") != tag || after.Body.String() != without.Body.String() {
		t.Errorf("after the token was shown, others get %s %s", after.Header().Get("ETag"), after.Body)
	}

	api := NewAPI(m, &access{allowed: true}, APIOptions{Versions: []string{"v1", "v2"}, Credentials: &vault{token: clusterToken}}, rest.NewPager(rest.PagingOptions{Size: 100}, []byte("a key of replicas")))
	announced := 0
	_, everything := api.Everything()
	for change := range everything {
		announced++
		if text := fmt.Sprintf("%+v", change); strings.Contains(text, "very-secret") || strings.Contains(text, "profileData") {
			t.Errorf("announced: %s", text)
		}
	}
	if announced == 0 {
		t.Error("nothing is announced, so nothing is proved")
	}
	if strings.Contains(logged.String(), "very-secret") {
		t.Errorf("the token is in the log:\n%s", logged)
	}
}

// TestClusterTokenThatCannotBeRead: the rest is worth answering, and the log says why.
func TestClusterTokenThatCannotBeRead(t *testing.T) {
	m := twoClusters(t)
	for _, failure := range []error{fault.Unavailable, fault.Invalid, errors.New("anything")} {
		logged := new(bytes.Buffer)
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewJSONHandler(logged, nil)))
		w, told := ask(t, m, &vault{token: clusterToken, err: fmt.Errorf("secret edge-1/x: %w", failure)}, true, http.MethodGet, managerPath("edge-1"))
		slog.SetDefault(before)
		if w.Code != 200 || !strings.Contains(w.Body.String(), `"cluster_ca_cert":"PEM of edge-1"}`) || told.Credentials {
			t.Errorf("%v: %d %s, want the profile without a token", failure, w.Code, w.Body)
		}
		if !strings.Contains(logged.String(), `"level":"WARN"`) || !strings.Contains(logged.String(), "secret edge-1/x: "+failure.Error()) || strings.Contains(logged.String(), "very-secret") {
			t.Errorf("%v: logged %s", failure, logged)
		}
	}
}

func TestDeployerServiceAccountIsChecked(t *testing.T) {
	for name, good := range map[string]bool{"": true, "o2ims-deployer": true, "a.b": true, "A": false, "-a": false, "a/b": false, "..": false, strings.Repeat("a", 254): false} {
		o := APIOptions{Versions: []string{"v2"}, DeployerServiceAccount: name}
		if err := o.Validate(); (err == nil) != good {
			t.Errorf("%q: %v, want it taken: %t", name, err, good)
		}
	}
}
