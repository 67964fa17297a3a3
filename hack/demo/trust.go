package main

import (
	"github.com/o2ims/o2ims/test/ocloud"
)

// trustSteps show how the O-Cloud and its SMO find and prove each other.
func trustSteps(oCloudID string) []step {
	const token = `TOKEN=$(curl -s --cacert $ISSUER_CA --cert $CALLER_CERT --key $CALLER_KEY -u $CALLER_ID:$CALLER_SECRET \
  -d grant_type=client_credentials $ISSUER_URL/token | jq -r .access_token)` + "\n"
	const call = `curl -s -o /dev/null -w '%{http_code} ' --cacert $O2IMS_CA -H "Authorization: Bearer $TOKEN" `
	return []step{
		{
			title: "The O-Cloud has registered with the SMO, with a token and a certificate of its own.",
			command: "kubectl --kubeconfig $HUB_KUBECONFIG get inventory default\n" +
				"curl -s --cacert $SMO_CA $SMO_URL" + ocloud.RegistrationPath + " | jq -c .",
			want: []string{oCloudID, ocloud.GlobalCloudID}, from: "the SMO",
		},
		{
			title: "The SMO's operator gets a token of the OAuth server, bound to its certificate. With the certificate it\n   is served; with the token alone, and with the certificate alone, it is not.",
			command: token + call + `--cert $CALLER_CERT --key $CALLER_KEY $O2IMS_URL` + inventoryV1 + "\n" +
				call + `$O2IMS_URL` + inventoryV1 + "\n" +
				`curl -s -o /dev/null -w '%{http_code}\n' --cacert $O2IMS_CA --cert $CALLER_CERT --key $CALLER_KEY $O2IMS_URL` + inventoryV1,
			want: []string{"200 401 401"}, from: "RFC 8705",
		},
	}
}
