package addon

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"open-cluster-management.io/addon-framework/pkg/agent"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	operatorv1 "open-cluster-management.io/api/operator/v1"
)

const (
	kubeClientSigner = certificatesv1.KubeAPIServerClientSignerName

	// grpcServer hands on requests of clusters that reach the hub by gRPC, and says in an
	// annotation whose they are.
	grpcServer = "system:serviceaccount:open-cluster-management-hub:grpc-server-sa"

	// authenticated was part of every agent's certificate before OCM 1.3. Harmless: whoever
	// is authenticated is in that group.
	authenticated = "system:authenticated"
)

// comesFromItsCluster closes two gaps of addon-framework's own check, beside which it
// stands.
//
// That check compares the requester with "system:open-cluster-management:<cluster>" as a
// prefix, which cluster edge-10 fulfils for edge-1. And it counts two or three groups of
// which it knows two: a third could be any group that somebody gave rights to, such as
// o2ims-admin.
func comesFromItsCluster(ctx context.Context, cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn,
	csr *certificatesv1.CertificateSigningRequest) bool {
	why := refuse(cluster.Name, addon.Name, csr)
	if why != "" {
		slog.WarnContext(ctx, "certificate request of an agent not approved", "csr", csr.Name,
			"managedCluster", cluster.Name, "requester", csr.Spec.Username, "reason", why)
	}
	return why == ""
}

// refuse says why a request is not approved; nothing means that it may be.
func refuse(cluster, addon string, csr *certificatesv1.CertificateSigningRequest) string {
	requester := csr.Spec.Username
	if requester == grpcServer {
		requester = csr.Annotations[operatorv1.CSRUsernameAnnotation]
	}
	if !strings.HasPrefix(requester, "system:open-cluster-management:"+cluster+":") {
		return "the requester does not belong to the managed cluster"
	}
	if csr.Spec.SignerName != kubeClientSigner {
		return "the signer is not " + kubeClientSigner
	}
	block, _ := pem.Decode(csr.Spec.Request)
	if block == nil {
		return "it holds no PEM block"
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return "it holds no certificate request"
	}
	allowed := append(agent.DefaultGroups(cluster, addon), authenticated)
	for _, group := range request.Subject.Organization {
		if !slices.Contains(allowed, group) {
			return "it asks for the group " + group
		}
	}
	for _, usage := range csr.Spec.Usages {
		switch usage {
		case certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageClientAuth:
		default:
			return "it asks for the usage " + string(usage)
		}
	}
	return ""
}
