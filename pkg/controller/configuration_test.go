package controller

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	apiv1alpha1 "github.com/o2ims/o2ims/pkg/apis/v1alpha1"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/settings"
	"github.com/o2ims/o2ims/pkg/smo"
)

// configuredDouble remembers what it was configured with.
type configuredDouble struct{ callers auth.Config }

func (c *configuredDouble) ConfigureCallers(config auth.Config) error {
	c.callers = config
	return nil
}
func (*configuredDouble) ConfigureOutbound(smo.Settings) error        { return nil }
func (*configuredDouble) ConfigureServices(apiv1alpha1.InventorySpec) {}
func (*configuredDouble) IssuerFaults() map[string]string             { return nil }
func (*configuredDouble) Services(context.Context) []ServiceState     { return nil }
func (c *configuredDouble) issuers() (urls []string) {
	for _, i := range c.callers.Issuers {
		urls = append(urls, i.URL)
	}
	return urls
}

// configuring is an Inventory that is changed step by step.
type configuring struct {
	*testing.T
	hub        client.Client
	inv        *apiv1alpha1.Inventory
	configured *configuredDouble
	c          *Configuration
}

func newConfiguring(t *testing.T, objects ...client.Object) *configuring {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	w := &configuring{T: t, inv: &apiv1alpha1.Inventory{ObjectMeta: metav1.ObjectMeta{Name: apiv1alpha1.InventoryName}}, configured: &configuredDouble{}}
	w.hub = fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, w.inv)...).Build()
	w.c = newConfiguration(w.hub, "o2ims", w.configured)
	return w
}

// apply changes spec.authentication and tells which issuers are in use then, and whether the
// whole is.
func (w *configuring) apply(spec *apiv1alpha1.AuthenticationSpec) (issuers []string, applied bool) {
	w.Helper()
	if err := w.hub.Get(w.Context(), client.ObjectKeyFromObject(w.inv), w.inv); err != nil {
		w.Fatal(err)
	}
	w.inv.Spec.Authentication = spec
	if err := w.hub.Update(w.Context(), w.inv); err != nil {
		w.Fatal(err)
	}
	if _, err := w.c.Reconcile(w.Context(), theConfiguration); err != nil {
		w.Fatal(err)
	}
	var status apiv1alpha1.InventoryStatus
	w.c.extend(w.Context(), &status, 1)
	return w.configured.issuers(), meta.IsStatusConditionTrue(status.Conditions, apiv1alpha1.ConditionConfigurationApplied)
}

// An issuer that is taken out goes, and one that is put in waits, while something else about
// the callers cannot be used.
func TestRemovedIssuersGoInAnyCase(t *testing.T) {
	w := newConfiguring(t)
	for _, step := range []struct {
		story   string
		issuers []string
		bundle  string // of callers
		want    []string
		faulty  bool
	}{
		{"two", []string{"https://a", "https://b"}, "", []string{"https://a", "https://b"}, false},
		{"callers' CAs are not there", []string{"https://a", "https://b"}, "none", []string{"https://a", "https://b"}, true},
		{"one is taken out meanwhile, another put in", []string{"https://b", "https://c"}, "none", []string{"https://b"}, true},
		{"all is mended", []string{"https://b", "https://c"}, "", []string{"https://b", "https://c"}, false},
		{"all issuers are taken out with a fault", nil, "none", nil, true},
	} {
		spec := &apiv1alpha1.AuthenticationSpec{}
		for _, url := range step.issuers {
			spec.Issuers = append(spec.Issuers, apiv1alpha1.IssuerSpec{URL: url, Audiences: []string{"o2ims"}})
		}
		if step.bundle != "" {
			spec.ClientCertificates = &apiv1alpha1.ClientCertificatesSpec{CABundleName: step.bundle}
		}
		if got, applied := w.apply(spec); !slices.Equal(got, step.want) || applied == step.faulty {
			t.Errorf("%s: issuers %q, applied: %t; want %q, %t", step.story, got, applied, step.want, !step.faulty)
		}
	}
}

// After a start with several faults, mending one of them helps at once.
func TestFaultsAreMendedOneByOne(t *testing.T) {
	w := newConfiguring(t)
	issuer := func(url, bundle string) apiv1alpha1.IssuerSpec {
		return apiv1alpha1.IssuerSpec{URL: url, Audiences: []string{"o2ims"}, CABundleName: bundle}
	}
	for _, step := range []struct {
		story   string
		issuers []apiv1alpha1.IssuerSpec
		want    []string
	}{
		{"two faults", []apiv1alpha1.IssuerSpec{issuer("https://a", "none"), issuer("https://b", "none")}, nil},
		{"one is mended", []apiv1alpha1.IssuerSpec{issuer("https://a", ""), issuer("https://b", "none")}, []string{"https://a"}},
		{"both are", []apiv1alpha1.IssuerSpec{issuer("https://a", ""), issuer("https://b", "")}, []string{"https://a", "https://b"}},
		{"a new fault leaves what was good", []apiv1alpha1.IssuerSpec{issuer("https://a", "none"), issuer("https://b", "")}, []string{"https://a", "https://b"}},
	} {
		if got, _ := w.apply(&apiv1alpha1.AuthenticationSpec{Issuers: step.issuers}); !slices.Equal(got, step.want) {
			t.Errorf("%s: issuers %q, want %q", step.story, got, step.want)
		}
	}
}

func TestAFaultIsSaidOnce(t *testing.T) {
	spec := apiv1alpha1.InventorySpec{CABundleName: "none", Authentication: &apiv1alpha1.AuthenticationSpec{
		Issuers: []apiv1alpha1.IssuerSpec{{URL: "https://a", Audiences: []string{"o2ims"}}, {URL: "https://b", Audiences: []string{"o2ims"}}},
	}}
	_, err := settings.Callers(spec, settings.References{})
	if got := sentences(err); strings.Count(got, "caBundleName") != 1 {
		t.Errorf("message = %q, want the field once", got)
	}
}
