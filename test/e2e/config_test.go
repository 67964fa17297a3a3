package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/o2ims/o2ims/test/harness/machines"
	"github.com/o2ims/o2ims/test/ocloud"
)

// TestOneClusterIsConfigured gives one managed cluster an AddOnDeploymentConfig of its
// own, good and bad.
func TestOneClusterIsConfigured(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tuned = "tuned"
	set := must[map[string]machines.Machine](t)(snapshots(ctx, setOfTuned))
	spoke := join(ctx, t, tuned, set["r610-6"], set["ryzen-6"])
	before := servers(ctx, t, tuned)

	config := &addonv1alpha1.AddOnDeploymentConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: tuned, Name: "own"},
		Spec: addonv1alpha1.AddOnDeploymentConfigSpec{
			NodePlacement: &addonv1alpha1.NodePlacement{
				NodeSelector: map[string]string{corev1.LabelHostname: "ryzen-6"},
				Tolerations:  []corev1.Toleration{{Key: "example.org/ran", Operator: corev1.TolerationOpExists}},
			},
			ProxyConfig: addonv1alpha1.ProxyConfig{HTTPSProxy: "http://proxy.example.org:3128", NoProxy: "127.0.0.0/8"},
			CustomizedVariables: []addonv1alpha1.CustomizedVariable{
				{Name: "LOG_LEVEL", Value: "debug"}, {Name: "REPORT_DEBOUNCE", Value: "0s"}, {Name: "REPORT_MIN_INTERVAL", Value: "0s"},
			},
		},
	}
	create(ctx, t, config)
	patch := []byte(`{"spec":{"configs":[{"group":"addon.open-cluster-management.io","resource":"addondeploymentconfigs","namespace":"tuned","name":"own"}]}}`)
	addon := &addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: tuned, Name: "o2ims"}}
	if err := cloud.Env.Hub.Client().Patch(ctx, addon, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "the Deployment as configured", func(ctx context.Context) error {
		spec := agentDeployment(ctx, t, spoke, ocloud.AgentNamespace).Spec.Template.Spec
		env := spec.Containers[0].Env
		switch {
		case spec.NodeSelector[corev1.LabelHostname] != "ryzen-6":
			return fmt.Errorf("nodeSelector %v", spec.NodeSelector)
		case !slices.ContainsFunc(spec.Tolerations, func(o corev1.Toleration) bool { return o.Key == "example.org/ran" }):
			return fmt.Errorf("tolerations %v", spec.Tolerations)
		case !slices.Contains(env, corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://proxy.example.org:3128"}):
			return fmt.Errorf("environment %v", env)
		case !slices.Contains(spec.Containers[0].Args, "--log-level=debug"):
			return fmt.Errorf("arguments %q", spec.Containers[0].Args)
		}
		return nil
	})
	eventually(ctx, t, "the agent on its node", func(context.Context) error {
		agents := spoke.Agents()
		if len(agents) != 1 || agents[0].Node != "ryzen-6" || !agents[0].Ready {
			return fmt.Errorf("agents %+v", agents)
		}
		return nil
	})
	cordonAndBack(ctx, t, tuned, "r610-6")
	sameIDs(t, "configured", servers(ctx, t, tuned), before)

	t.Run("a bad value", func(t *testing.T) {
		good := agentDeployment(ctx, t, spoke, ocloud.AgentNamespace)
		setVariable(ctx, t, config, "soon")
		eventually(ctx, t, "a word about it", func(ctx context.Context) error { return complaint(ctx, tuned, "REPORT_DEBOUNCE") })
		if got := agentDeployment(ctx, t, spoke, ocloud.AgentNamespace); got.Generation != good.Generation {
			t.Error("the Deployment changed")
		}
		cordonAndBack(ctx, t, tuned, "r610-6") // what runs, runs on
		setVariable(ctx, t, config, "10ms")
		eventually(ctx, t, "the good value to arrive", func(ctx context.Context) error {
			if args := agentDeployment(ctx, t, spoke, ocloud.AgentNamespace).Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--report-debounce=10ms") {
				return fmt.Errorf("arguments %q", args)
			}
			if err := complaint(ctx, tuned, "REPORT_DEBOUNCE"); err == nil {
				return fmt.Errorf("the complaint still stands")
			}
			return nil
		})
	})

	t.Run("another namespace", func(t *testing.T) {
		const own = "o2ims-own"
		mayBeRefused(tuned) // the old agent outlives its roles for a moment
		patchConfig(ctx, t, config, `{"spec":{"agentInstallNamespace":"o2ims-own"}}`)
		eventually(ctx, t, "the agent in its own namespace", func(ctx context.Context) error {
			agents := spoke.Agents()
			if len(agents) != 1 || agents[0].Namespace != own || !agents[0].Ready {
				return fmt.Errorf("agents %+v", agents)
			}
			addon, err := cloud.AddOn(ctx, tuned)
			if err != nil {
				return err
			}
			if !meta.IsStatusConditionTrue(addon.Status.Conditions, addonv1beta1.ManagedClusterAddOnConditionAvailable) {
				return fmt.Errorf("conditions %+v", otherConditions(ctx, t, tuned))
			}
			return nil
		})
		cordonAndBack(ctx, t, tuned, "r610-6")
		eventuallySameIDs(ctx, t, "moved", tuned, before)
	})
}

// credentials is the Secret with which the agent reaches the hub.
func credentials(ctx context.Context, t *testing.T, s *ocloud.Spoke, namespace string) *corev1.Secret {
	t.Helper()
	var secret corev1.Secret
	if err := s.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: "o2ims-hub-kubeconfig"}, &secret); err != nil {
		t.Fatal(err)
	}
	return &secret
}

// setVariable gives the agent a debounce. Reports stay as frequent as they were: by default
// the second of two would wait for a minute.
func setVariable(ctx context.Context, t *testing.T, config *addonv1alpha1.AddOnDeploymentConfig, value string) {
	t.Helper()
	patchConfig(ctx, t, config, fmt.Sprintf(`{"spec":{"customizedVariables":[{"name":"REPORT_DEBOUNCE","value":%q},{"name":"REPORT_MIN_INTERVAL","value":"0s"}]}}`, value))
}

func patchConfig(ctx context.Context, t *testing.T, config *addonv1alpha1.AddOnDeploymentConfig, patch string) {
	t.Helper()
	if err := cloud.Env.Hub.Client().Patch(ctx, config, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// complaint returns nil when a person who looks at the add-on learns what is wrong.
func complaint(ctx context.Context, cluster, about string) error {
	addon, err := cloud.AddOn(ctx, cluster)
	if err != nil {
		return err
	}
	c := meta.FindStatusCondition(addon.Status.Conditions, addonv1beta1.ManagedClusterAddOnManifestApplied)
	if c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, about) {
		return fmt.Errorf("condition %+v says nothing of %s", c, about)
	}
	return nil
}

func agentDeployment(ctx context.Context, t *testing.T, s *ocloud.Spoke, namespace string) *appsv1.Deployment {
	t.Helper()
	var d appsv1.Deployment
	if err := s.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: "o2ims-agent"}, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// TestCredentialsAreMadeAnew takes the agent's credentials away. OCM makes new ones, and
// they reach the process.
func TestCredentialsAreMadeAnew(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	spoke := cloud.Spoke(edge)
	old := credentials(ctx, t, spoke, ocloud.AgentNamespace)
	if err := spoke.Client().Delete(ctx, old); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "new credentials in the agent's hands", func(ctx context.Context) error { // OCM looks once a minute
		var secret corev1.Secret
		if err := spoke.Client().Get(ctx, client.ObjectKeyFromObject(old), &secret); err != nil {
			return err
		}
		agents := spoke.Agents()
		if len(agents) != 1 || !agents[0].Ready {
			return fmt.Errorf("agents %+v", agents)
		}
		seen, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/var/run/o2ims/hub/tls.crt", agents[0].PID))
		if err != nil {
			return err
		}
		if bytes.Equal(seen, old.Data["tls.crt"]) || !bytes.Equal(seen, secret.Data["tls.crt"]) {
			return fmt.Errorf("certificate: %w", ocloud.ErrNotYet)
		}
		return nil
	})
	cordonAndBack(ctx, t, edge, edgeDell)
}
