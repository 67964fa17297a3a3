package addon

import (
	"bytes"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// securityContextConstraints is OpenShift's kind as far as we set it, so that a misspelt
// field is found there, too.
//
// Source: OpenShift API, security.openshift.io/v1.
type securityContextConstraints struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`

	AllowHostDirVolumePlugin bool `json:"allowHostDirVolumePlugin"`
	AllowHostIPC             bool `json:"allowHostIPC"`
	AllowHostNetwork         bool `json:"allowHostNetwork"`
	AllowHostPID             bool `json:"allowHostPID"`
	AllowHostPorts           bool `json:"allowHostPorts"`
	AllowPrivilegeEscalation bool `json:"allowPrivilegeEscalation"`
	AllowPrivilegedContainer bool `json:"allowPrivilegedContainer"`
	ReadOnlyRootFilesystem   bool `json:"readOnlyRootFilesystem"`

	AllowedCapabilities      []string `json:"allowedCapabilities"`
	DefaultAddCapabilities   []string `json:"defaultAddCapabilities"`
	RequiredDropCapabilities []string `json:"requiredDropCapabilities"`
	SeccompProfiles          []string `json:"seccompProfiles"`
	Users                    []string `json:"users"`
	Groups                   []string `json:"groups"`
	Volumes                  []string `json:"volumes"`

	RunAsUser          map[string]string `json:"runAsUser"`
	SELinuxContext     map[string]string `json:"seLinuxContext"`
	FSGroup            map[string]string `json:"fsGroup"`
	SupplementalGroups map[string]string `json:"supplementalGroups"`
}

// decodeStrictly decodes one YAML document; a field that its kind does not have, or has
// twice, is an error. A document of comments gives nil.
func decodeStrictly(document []byte) (runtime.Object, error) {
	var fields map[string]any
	if err := yaml.Unmarshal(document, &fields); err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, nil
	}
	if fields["kind"] == "SecurityContextConstraints" {
		text, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, err
		}
		// not encoding/json, to which allowHostPid would do for allowHostPID
		strict, err := json.UnmarshalStrict(text, &securityContextConstraints{})
		if err := errors.Join(append(strict, err)...); err != nil {
			return nil, err
		}
	}
	s := spokeScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, addonv1alpha1.Install, clusterv1beta1.Install, clusterv1beta2.Install} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return runtime.Decode(serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer(), document)
}

// decodeAllStrictly decodes the documents of a YAML stream.
func decodeAllStrictly(stream []byte) ([]runtime.Object, error) {
	var objects []runtime.Object
	for i, document := range bytes.Split(stream, []byte("\n---")) {
		o, err := decodeStrictly(document)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w\n%s", i+1, err, document)
		}
		if o != nil {
			objects = append(objects, o)
		}
	}
	return objects, nil
}
