package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SMOSpec is whom this O-Cloud registers with and tells of changes, and how it proves to it
// who it is. Secrets and ConfigMaps that it names are in the manager's namespace; a change
// of what they hold takes effect at once.
//
// +kubebuilder:validation:XValidation:rule="!has(self.deregistrationEndpoint) || has(self.registrationEndpoint)",message="deregistrationEndpoint needs a registrationEndpoint"
// +kubebuilder:validation:XValidation:rule="!has(self.oauth) || !has(self.oauth.clientAuthentication) || self.oauth.clientAuthentication != 'tls' || has(self.tls)",message="clientAuthentication tls needs tls.secretName"
type SMOSpec struct {
	// url of the SMO, https://host[:port][/path]. Tokens are sent to its host and to those
	// of the manager's flag --outbound-hosts, to nobody else.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@]+(/[^?#]*)?$') && isURL(self)",message="url must be https://host[:port][/path] without user and query"
	URL string `json:"url"`

	// registrationEndpoint is the path, appended to url, to which the O-Cloud available
	// notification is posted. Without it nobody is registered with.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^/[^?#]*$')",message="registrationEndpoint must be a path that begins with /"
	RegistrationEndpoint string `json:"registrationEndpoint,omitempty"`

	// deregistrationEndpoint is the path, appended to url, below which {oCloudId} is sent a
	// DELETE when the Inventory is deleted. Without it the SMO is not told.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^/[^?#]*$')",message="deregistrationEndpoint must be a path that begins with /"
	DeregistrationEndpoint string `json:"deregistrationEndpoint,omitempty"`

	// oauth is how to get tokens for the SMO. Without it no token is sent.
	//
	// +optional
	OAuth *OAuthSpec `json:"oauth,omitempty"`

	// tls is the client certificate that is shown to the SMO and to the OAuth server.
	//
	// +optional
	TLS *ClientTLSSpec `json:"tls,omitempty"`
}

// OAuthSpec says where our own tokens come from: the client credentials grant.
//
// Source: RFC 6749, clause 4.4; RFC 8705, clause 2.1.
type OAuthSpec struct {
	// url of the authorization server, which is its issuer.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@]+(/[^?#]*)?$') && isURL(self)",message="url must be https://host[:port][/path] without user and query"
	URL string `json:"url"`

	// tokenEndpoint is a path that is appended to url, or a URL of its own. Without it the
	// server is asked for its metadata.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^(/[^?#]*|https?://[^/?#@]+(/[^?#]*)?)$')",message="tokenEndpoint must be a path that begins with /, or a URL"
	TokenEndpoint string `json:"tokenEndpoint,omitempty"`

	// clientSecretName names a Secret with the keys client-id and client-secret. With
	// clientAuthentication tls it needs no client-secret.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClientSecretName string `json:"clientSecretName"`

	// clientAuthentication is how the client proves who it is to the token endpoint: basic
	// (its secret in a header), body (its secret in the form), tls (its certificate).
	//
	// +optional
	// +kubebuilder:validation:Enum=basic;body;tls
	ClientAuthentication string `json:"clientAuthentication,omitempty"`

	// scopes to ask for.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[\x21\x23-\x5B\x5D-\x7E]+$`
	Scopes []string `json:"scopes,omitempty"`

	// audience is sent with the request for a token, for servers that want to be told.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^\S+$`
	Audience string `json:"audience,omitempty"`
}

// ClientTLSSpec names a certificate of ours.
type ClientTLSSpec struct {
	// secretName names a Secret of type kubernetes.io/tls.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName"`
}

// SMORegistrationStatus is what the SMO was told last, and when.
type SMORegistrationStatus struct {
	// url that the registration was sent to.
	URL string `json:"url,omitempty"`

	GlobalCloudID string `json:"globalCloudId,omitempty"`
	OCloudID      string `json:"oCloudId,omitempty"`

	// imsEndpoint is the address of our APIs that the SMO was given.
	IMSEndpoint string `json:"imsEndpoint,omitempty"`

	// digest over all of the above: another one, and the SMO is told again.
	Digest string `json:"digest,omitempty"`

	// registeredAt is when the SMO took it.
	// +optional
	RegisteredAt *metav1.Time `json:"registeredAt,omitempty"`

	// requested is the value of the annotation AnnotationRegister that was obeyed last.
	Requested string `json:"requested,omitempty"`
}

// AnnotationRegister on the Inventory asks for one more registration, whenever its value
// changes: kubectl annotate inventory default o2ims.open-cluster-management.io/register="$(date)".
const AnnotationRegister = GroupName + "/register"

// FinalizerDeregister keeps a deleted Inventory until the SMO has been told.
const FinalizerDeregister = GroupName + "/deregister"
