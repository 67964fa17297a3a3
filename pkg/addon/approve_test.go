package addon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"open-cluster-management.io/addon-framework/pkg/agent"
	operatorv1 "open-cluster-management.io/api/operator/v1"
)

func TestApproval(t *testing.T) {
	groups := agent.DefaultGroups("edge-1", Name)
	user := agent.DefaultUser("edge-1", Name, AgentName)
	klusterlet := "system:open-cluster-management:edge-1:agent1"
	good := certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
		Username: klusterlet, SignerName: certificatesv1.KubeAPIServerClientSignerName,
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageClientAuth},
	}}
	for _, tc := range []struct {
		name   string
		user   string
		groups []string
		change func(*certificatesv1.CertificateSigningRequest)
		want   bool
	}{
		{name: "the klusterlet of the cluster", user: user, groups: groups, want: true},
		{name: "OCM before 1.3", user: user, groups: append(groups, "system:authenticated"), want: true},
		{name: "by gRPC", user: user, groups: groups, want: true, change: func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.Username = grpcServer
			c.Annotations = map[string]string{operatorv1.CSRUsernameAnnotation: klusterlet}
		}},
		{name: "by gRPC, of another cluster", user: user, groups: groups, change: func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.Username = grpcServer
			c.Annotations = map[string]string{operatorv1.CSRUsernameAnnotation: "system:open-cluster-management:edge-10:agent1"}
		}},
		{name: "an annotation that anybody can set", user: user, groups: groups, change: func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.Username = "mallory"
			c.Annotations = map[string]string{operatorv1.CSRUsernameAnnotation: klusterlet}
		}},
		{name: "a cluster whose name begins alike", user: user, groups: groups, change: func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.Username = "system:open-cluster-management:edge-10:agent1"
		}},
		{name: "another cluster's agent", user: agent.DefaultUser("edge-2", Name, AgentName), groups: groups},
		{name: "another name of the agent", user: agent.DefaultUser("edge-1", Name, "x"), groups: groups},
		{name: "a role of the API", user: user, groups: append(groups, "o2ims-admin")},
		{name: "one group missing", user: user, groups: groups[:1]},
		{name: "another signer", user: user, groups: groups, change: func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.SignerName = "kubernetes.io/kubelet-serving"
		}},
		{name: "a server's certificate", user: user, groups: groups, change: func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.Usages = append(c.Spec.Usages, certificatesv1.UsageServerAuth)
		}},
		{name: "no request in it", user: user, groups: groups, change: func(c *certificatesv1.CertificateSigningRequest) {
			c.Spec.Request = []byte("?")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			csr := good.DeepCopy()
			csr.ObjectMeta = metav1.ObjectMeta{Name: "addon-edge-1-o2ims-x"}
			csr.Spec.Request = request(t, tc.user, tc.groups)
			if tc.change != nil {
				tc.change(csr)
			}
			approve := newHub(t).GetAgentAddonOptions().Registration.CSRApproveCheck
			if got := approve(context.Background(), managedCluster("edge-1"), managedClusterAddOn(t, "edge-1", nil), csr); got != tc.want {
				t.Errorf("approved: %t, want %t", got, tc.want)
			}
		})
	}
}

func request(t *testing.T, user string, groups []string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: user, Organization: groups}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
