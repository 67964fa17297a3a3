package addon

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	addonutils "open-cluster-management.io/addon-framework/pkg/utils"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"

	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/report"
)

// settings are what the customizedVariables of an AddOnDeploymentConfig may change.
type settings struct {
	probe             bool
	probeInterval     time.Duration
	reportDebounce    time.Duration
	reportMinInterval time.Duration
	maxReportParts    int
	logLevel          string

	alertmanagerURLs    []string
	prometheusURL       string
	alertSenders        []string // namespace/name of service accounts
	alertTokenAudiences []string
	alertPollInterval   time.Duration
	alertsMinInterval   time.Duration
}

func defaultSettings() settings {
	return settings{
		probe:             true,
		probeInterval:     5 * time.Minute,
		reportDebounce:    10 * time.Second,
		reportMinInterval: time.Minute,
		maxReportParts:    report.DefaultInventoryParts,
		logLevel:          "info",
		alertPollInterval: 30 * time.Second,
		alertsMinInterval: 5 * time.Second,
	}
}

// settingsFrom reads the variables that are ours and ignores all others, since one
// AddOnDeploymentConfig may serve several add-ons. An error names the variable and wraps
// fault.Invalid; it ends up in the condition ManifestApplied, and what was deployed before
// stays.
func settingsFrom(variables []addonv1beta1.CustomizedVariable) (settings, error) {
	s := defaultSettings()
	for _, v := range variables {
		if want := s.set(v.Name, v.Value); want != "" {
			return settings{}, fmt.Errorf("variable %s is %q, want %s: %w", v.Name, v.Value, want, fault.Invalid)
		}
	}
	return s, nil
}

// set takes one variable over, or says what its value should have looked like.
func (s *settings) set(name, value string) (want string) {
	switch name {
	case "PROBE":
		s.probe = value == "true"
		if value != "true" && value != "false" {
			return "true or false"
		}
	case "PROBE_INTERVAL":
		return parseDuration(&s.probeInterval, value, time.Second)
	case "REPORT_DEBOUNCE":
		return parseDuration(&s.reportDebounce, value, 0)
	case "REPORT_MIN_INTERVAL":
		return parseDuration(&s.reportMinInterval, value, 0)
	case "MAX_REPORT_PARTS":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > report.MaxParts {
			return fmt.Sprintf("a number from 1 to %d", report.MaxParts)
		}
		s.maxReportParts = n
	case "LOG_LEVEL":
		switch value {
		case "debug", "info", "warn", "error":
			s.logLevel = value
		default:
			return "debug, info, warn or error"
		}
	case "ALERTMANAGER_URL":
		return parseList(&s.alertmanagerURLs, value, isURL, "URLs such as https://alertmanager-main.openshift-monitoring.svc:9094, separated by commas")
	case "PROMETHEUS_URL":
		if value != "" && !isURL(value) {
			return "a URL such as https://prometheus-k8s.openshift-monitoring.svc:9091"
		}
		s.prometheusURL = value
	case "ALERT_SENDERS":
		return parseList(&s.alertSenders, value, serviceAccount.MatchString, "service accounts such as monitoring/alertmanager-main, separated by commas")
	case "ALERT_TOKEN_AUDIENCES":
		return parseList(&s.alertTokenAudiences, value, isWord, "audiences, separated by commas")
	case "ALERTS_MIN_INTERVAL":
		return parseDuration(&s.alertsMinInterval, value, 0)
	case "ALERT_POLL_INTERVAL":
		return parseDuration(&s.alertPollInterval, value, time.Second)
	}
	return ""
}

// parseList accepts texts between commas, or none.
func parseList(to *[]string, value string, ok func(string) bool, form string) (want string) {
	*to = nil
	if value == "" {
		return ""
	}
	for _, text := range strings.Split(value, ",") {
		text = strings.TrimSpace(text)
		if !ok(text) {
			return form
		}
		*to = append(*to, text)
	}
	return ""
}

// serviceAccount is namespace/name.
var serviceAccount = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)

// isURL accepts what the agent can ask, without credentials: those would be readable in the
// manifests.
func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && isWord(text)
}

// isWord accepts what can stand in a list of flags.
func isWord(text string) bool { return text != "" && !strings.ContainsAny(text, " \t\r\n\",") }

// parseDuration accepts what a person would set: from least to a day.
func parseDuration(to *time.Duration, value string, least time.Duration) (want string) {
	d, err := time.ParseDuration(value)
	if err != nil || d < least || d > 24*time.Hour {
		return fmt.Sprintf("a duration such as 30s or 5m, from %s to 24h", least)
	}
	*to = d
	return ""
}

// configRef names the AddOnDeploymentConfig that OCM chose for a managed cluster, and the
// state of it: the zero value means that none was chosen.
type configRef struct {
	namespace, name, specHash string
}

// configRefOf reads the reference from the status, where OCM resolves what the
// ManagedClusterAddOn, the Placement and the ClusterManagementAddOn say. An error means
// that OCM is not done; that is normal in the first seconds.
func configRefOf(addon *addonv1beta1.ManagedClusterAddOn) (configRef, error) {
	ok, ref := addonutils.GetAddOnConfigRef(addon.Status.ConfigReferences,
		addonutils.AddOnDeploymentConfigGVR.Group, addonutils.AddOnDeploymentConfigGVR.Resource)
	if !ok {
		return configRef{}, nil
	}
	if ref.DesiredConfig == nil || ref.DesiredConfig.SpecHash == "" {
		return configRef{}, fmt.Errorf("AddOnDeploymentConfig of add-on %s: not resolved yet: %w", addon.Name, fault.Unavailable)
	}
	d := ref.DesiredConfig
	return configRef{namespace: d.Namespace, name: d.Name, specHash: d.SpecHash}, nil
}

// isConfigured tells whether OCM has decided which configurations an add-on has. Before, an
// absent reference may mean none or not yet.
func isConfigured(addon *addonv1beta1.ManagedClusterAddOn) bool {
	return meta.IsStatusConditionTrue(addon.Status.Conditions, addonv1beta1.ManagedClusterAddOnConditionConfigured)
}

// deploymentConfigs reads AddOnDeploymentConfigs, each state of one only once: every event
// of every managed cluster asks for one.
type deploymentConfigs struct {
	client dynamic.Interface

	mu    sync.Mutex
	known map[string]knownConfig // by namespace/name
}

type knownConfig struct {
	specHash string
	config   *addonv1beta1.AddOnDeploymentConfig
}

// get returns the AddOnDeploymentConfig, nil for the zero reference, and whether its
// content is the one that the reference's hash speaks of. It is not while a change is on
// its way through OCM, and then the content must not be remembered under that hash.
// Callers must not change what they get.
func (c *deploymentConfigs) get(ctx context.Context, ref configRef) (config *addonv1beta1.AddOnDeploymentConfig, exact bool, err error) {
	if ref == (configRef{}) {
		return nil, true, nil
	}
	key := ref.namespace + "/" + ref.name
	c.mu.Lock()
	known, ok := c.known[key]
	c.mu.Unlock()
	if ok && known.specHash == ref.specHash {
		return known.config, true, nil
	}

	// untyped, because OCM's hash covers the spec as stored, without the empty fields that a
	// typed object would add
	object, err := c.client.Resource(addonutils.AddOnDeploymentConfigGVR).Namespace(ref.namespace).Get(ctx, ref.name, metav1.GetOptions{})
	if err != nil {
		return nil, false, fmt.Errorf("AddOnDeploymentConfig %s: %w", key, err)
	}
	config = &addonv1beta1.AddOnDeploymentConfig{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, config); err != nil {
		return nil, false, fmt.Errorf("AddOnDeploymentConfig %s: %w", key, err)
	}
	hash, err := addonutils.GetSpecHash(object)
	if err != nil {
		return nil, false, fmt.Errorf("AddOnDeploymentConfig %s: %w", key, err)
	}
	if hash != ref.specHash {
		return config, false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[key] = knownConfig{specHash: hash, config: config}
	return config, true, nil
}
