package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AuthenticationSpec says whose calls are accepted, besides those with a token of the hub's
// Kubernetes. What a caller may do is a matter of ClusterRoles and their bindings.
//
// +kubebuilder:validation:XValidation:rule="!has(self.issuers) || self.issuers.all(i, !has(i.requireCertificateBinding) || !i.requireCertificateBinding) || has(self.clientCertificates) || has(self.trustedProxies)",message="requireCertificateBinding needs clientCertificates or trustedProxies: without them nobody is asked for a certificate"
type AuthenticationSpec struct {
	// issuers are the OAuth2 authorization servers whose tokens (JWT) are accepted.
	//
	// +optional
	// +listType=map
	// +listMapKey=url
	// +kubebuilder:validation:MaxItems=8
	Issuers []IssuerSpec `json:"issuers,omitempty"`

	// clientCertificates are asked for when there is a CA for them.
	//
	// +optional
	ClientCertificates *ClientCertificatesSpec `json:"clientCertificates,omitempty"`

	// trustedProxies may end TLS in front of the manager and say which certificate the
	// client showed them. What anybody else says of it is ignored.
	//
	// +optional
	TrustedProxies *TrustedProxiesSpec `json:"trustedProxies,omitempty"`
}

// IssuerSpec is one authorization server.
//
// Sources: RFC 9068 for the tokens; RFC 8414 and OpenID Connect Discovery for its keys.
type IssuerSpec struct {
	// url is exactly what tokens have as iss.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@]+(/[^?#]*)?$') && isURL(self)",message="url must be https://host[:port][/path] without user and query"
	URL string `json:"url"`

	// audiences, of which a token must have one.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Audiences []string `json:"audiences"`

	// usernameClaim is the claim that names the caller; dots lead into objects. Empty: sub.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	UsernameClaim string `json:"usernameClaim,omitempty"`

	// usernamePrefix is put before the name. Empty: the url and "#".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system:')",message="names that begin with system: are Kubernetes' own"
	UsernamePrefix string `json:"usernamePrefix,omitempty"`

	// groupsClaim is the claim that lists the caller's roles, such as realm_access.roles.
	// Empty: roles.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	GroupsClaim string `json:"groupsClaim,omitempty"`

	// roleNames says which of our roles the issuer's are. Roles that have our names need no
	// entry; any other is dropped.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	RoleNames []RoleNameSpec `json:"roleNames,omitempty"`

	// algorithms by which tokens may be signed. Empty: every asymmetric one.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:Enum=RS256;RS384;RS512;PS256;PS384;PS512;ES256;ES384;ES512;EdDSA
	Algorithms []string `json:"algorithms,omitempty"`

	// requireCertificateBinding refuses tokens that are not bound to the caller's
	// certificate (RFC 8705).
	//
	// +optional
	RequireCertificateBinding bool `json:"requireCertificateBinding,omitempty"`

	// caBundleName names a ConfigMap in the manager's namespace whose ca-bundle.crt is
	// trusted beside the system's when the issuer is asked for its keys. Empty: that of the
	// Inventory.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CABundleName string `json:"caBundleName,omitempty"`

	// leeway for clocks that differ. Empty: 30s.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('5m')",message="leeway must be from 0s to 5m"
	Leeway *metav1.Duration `json:"leeway,omitempty"`
}

// RoleNameSpec is one role of an issuer.
type RoleNameSpec struct {
	// name that the issuer gives it.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`

	// role of ours that it is.
	//
	// +required
	// +kubebuilder:validation:Enum=o2ims-reader;o2ims-subscriber;o2ims-maintainer;o2ims-provisioner;o2ims-deployer;o2ims-admin
	Role string `json:"role"`
}

// ClientCertificatesSpec says which certificates of callers are believed. A certificate
// alone authenticates nobody: it is what tokens are bound to, and a second lock.
type ClientCertificatesSpec struct {
	// caBundleName names a ConfigMap in the manager's namespace whose ca-bundle.crt holds the
	// CAs of callers.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	CABundleName string `json:"caBundleName"`

	// required refuses callers without one.
	//
	// +optional
	Required bool `json:"required,omitempty"`

	// subjects that are allowed: a subject (RFC 2253), or a DNS name or URI among the
	// alternative names. Empty: all that the CA signed.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Subjects []string `json:"subjects,omitempty"`
}

// TrustedProxiesSpec says whose word counts.
type TrustedProxiesSpec struct {
	// networks (CIDR) that the proxies' connections come from.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(n, isCIDR(n))",message="networks must be CIDRs, such as 10.128.0.0/14"
	Networks []string `json:"networks"`

	// header that carries the certificate: HAProxy (X-SSL-Client-Verify and X-SSL-Client-DER,
	// as OpenShift's router sends them), RFC9440 (Client-Cert), XFCC (X-Forwarded-Client-Cert).
	//
	// +required
	// +kubebuilder:validation:Enum=HAProxy;RFC9440;XFCC
	Header string `json:"header"`
}
