package addon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsfake "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/fake"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	addonfake "open-cluster-management.io/api/client/addon/clientset/versioned/fake"

	"github.com/o2ims/o2ims/pkg/fault"
)

// crd is the CustomResourceDefinition of ManagedClusterAddOn as far as it matters.
func crd(versions ...apiextensionsv1.CustomResourceDefinitionVersion) *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: managedClusterAddOnCRD},
		Spec:       apiextensionsv1.CustomResourceDefinitionSpec{Versions: versions},
	}
}

func version(name string, served bool, conditions apiextensionsv1.JSONSchemaProps) apiextensionsv1.CustomResourceDefinitionVersion {
	return apiextensionsv1.CustomResourceDefinitionVersion{
		Name: name, Served: served,
		Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
			Properties: map[string]apiextensionsv1.JSONSchemaProps{"status": {
				Properties: map[string]apiextensionsv1.JSONSchemaProps{"conditions": conditions},
			}},
		}},
	}
}

var (
	mapList    = apiextensionsv1.JSONSchemaProps{XListType: ptr.To("map"), XListMapKeys: []string{"type"}}
	atomicList = apiextensionsv1.JSONSchemaProps{}
)

func TestCheckHub(t *testing.T) {
	for _, tc := range []struct {
		name    string
		objects []runtime.Object
		reason  string // part of the refusal; empty: the hub will do
	}{
		{name: "OCM 1.2", objects: []runtime.Object{crd(version("v1alpha1", true, mapList), version("v1beta1", true, mapList))}},
		{name: "OCM 1.1", objects: []runtime.Object{crd(version("v1alpha1", true, atomicList))}, reason: "not served as v1beta1"},
		{name: "v1beta1 not served", objects: []runtime.Object{crd(version("v1alpha1", true, mapList), version("v1beta1", false, mapList))}, reason: "not served as v1beta1"},
		{name: "an older schema pinned by hand", objects: []runtime.Object{crd(version("v1beta1", true, atomicList))}, reason: "not a map"},
		{name: "a set, not a map", objects: []runtime.Object{crd(version("v1beta1", true, apiextensionsv1.JSONSchemaProps{XListType: ptr.To("set")}))}, reason: "not a map"},
		{name: "keyed otherwise", objects: []runtime.Object{crd(version("v1beta1", true, apiextensionsv1.JSONSchemaProps{XListType: ptr.To("map"), XListMapKeys: []string{"type", "status"}}))}, reason: "not a map"},
		{name: "no schema", objects: []runtime.Object{crd(apiextensionsv1.CustomResourceDefinitionVersion{Name: "v1beta1", Served: true})}, reason: "not a map"},
		{name: "no OCM", reason: "is Open Cluster Management installed?"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := CheckHub(context.Background(), apiextensionsfake.NewSimpleClientset(tc.objects...))
			if tc.reason == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var refusal *HubRefusedError
			if !errors.As(err, &refusal) || !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("error %v, want a refusal with %q", err, tc.reason)
			}
		})
	}
}

func TestCheckHubUnreachable(t *testing.T) {
	hub := apiextensionsfake.NewSimpleClientset()
	hub.PrependReactor("get", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	var refusal *HubRefusedError
	if err := CheckHub(context.Background(), hub); err == nil || errors.As(err, &refusal) {
		t.Errorf("error %v, want one that is no refusal: nothing is known of the hub", err)
	}
}

// A hub that is too old is refused where a person will see it, and served as soon as it has
// been upgraded.
func TestAnOldHubIsRefusedUntilItIsUpgraded(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	clock := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	recorder := events.NewFakeRecorder(10)
	hub := apiextensionsfake.NewSimpleClientset(crd(version("v1alpha1", true, atomicList)))
	m := &Manager{
		addons: addonfake.NewSimpleClientset(&addonv1alpha1.ClusterManagementAddOn{ObjectMeta: metav1.ObjectMeta{Name: Name, UID: "42"}}),
		crds:   hub, events: recorder, clock: clock,
	}
	served := make(chan bool)
	go func() { served <- m.waitForHub(ctx) }()

	for range 2 { // each look leaves an Event; the broadcaster makes one of them
		select {
		case event := <-recorder.Events:
			if !strings.HasPrefix(event, "Warning HubRefused this hub cannot carry reports: ") {
				t.Fatalf("event %q", event)
			}
		case <-ctx.Done():
			t.Fatal("no Event was recorded")
		}
		waitForTimer(ctx, t, clock)
		if got := m.Status(); got.State != Refused || !strings.Contains(got.Message, "v1beta1") || !got.Since.Equal(time.Unix(1_800_000_000, 0)) {
			t.Fatalf("status %+v, want Refused since the first look", got)
		}
		clock.Step(hubRetry)
	}
	<-recorder.Events // the third look, still old
	waitForTimer(ctx, t, clock)
	if _, err := hub.ApiextensionsV1().CustomResourceDefinitions().Update(ctx, crd(version("v1beta1", true, mapList)), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	clock.Step(hubRetry)
	select {
	case ok := <-served:
		if !ok {
			t.Error("gave up on a hub that was upgraded")
		}
	case <-ctx.Done():
		t.Fatal("the upgraded hub was not looked at again")
	}
}

func TestRefusalEndsWithTheProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		addons: addonfake.NewSimpleClientset(), crds: apiextensionsfake.NewSimpleClientset(),
		events: events.NewFakeRecorder(1), clock: clocktesting.NewFakeClock(time.Unix(0, 0)),
	}
	cancel()
	if m.waitForHub(ctx) {
		t.Error("took a hub without OCM for served")
	}
}

// waitForTimer returns once somebody waits on the clock.
func waitForTimer(ctx context.Context, t *testing.T, clock *clocktesting.FakeClock) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !clock.HasWaiters() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("nobody waits for the next look")
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{AgentImage: testImage, ImagePullPolicy: "Always", QPS: 1, Burst: 1}
	for _, tc := range []struct {
		name   string
		change func(*Options)
		flags  []string // named by the error
	}{
		{name: "good", change: func(*Options) {}},
		{name: "everything wrong at once", change: func(o *Options) { *o = Options{ImagePullPolicy: "Sometimes"} },
			flags: []string{"--agent-image is", "--agent-image-pull-policy", "--addon-qps", "--addon-burst"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := good
			tc.change(&o)
			err := o.Validate()
			if (err == nil) != (len(tc.flags) == 0) {
				t.Fatalf("error %v", err)
			}
			for _, flag := range tc.flags {
				if !strings.Contains(err.Error(), flag) {
					t.Errorf("error %v does not name %s", err, flag)
				}
			}
		})
	}
}
