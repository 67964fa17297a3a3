package main

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// step is one thing to see: a command to copy, and what it must print. The expected
// texts come from the kernel, Kubernetes and Alertmanager, never from our own API.
type step struct {
	title   string
	command string
	want    []string
	from    string // where the expected texts come from

	// also returns further texts to expect, which are known only now; nil: there are none.
	also func(ctx context.Context, output string) ([]string, error)
}

// show runs every command that it prints and fails when one does not print what it should.
func (d *demo) show(ctx context.Context) error {
	steps, err := d.steps(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\nTry it: every command below has just run. In another terminal, first:\n\n    source %s\n", envFile(d.dir))
	for i, s := range steps {
		fmt.Printf("\n%d. %s\n\n    %s\n\n", i+1, s.title, strings.ReplaceAll(s.command, "\n", "\n    "))
		output, err := d.shell(ctx, s.command)
		if err != nil {
			return fmt.Errorf("step %d: %w\n%s", i+1, err, output)
		}
		fmt.Println(indent(abridge(output, 14)))
		if s.also != nil {
			further, err := s.also(ctx, output)
			if err != nil {
				return fmt.Errorf("step %d: %w", i+1, err)
			}
			s.want = append(s.want, further...)
		}
		for _, want := range s.want {
			if !strings.Contains(output, want) {
				return fmt.Errorf("step %d: the answer lacks %q, which is what %s says", i+1, want, s.from)
			}
		}
		if len(s.want) > 0 {
			fmt.Printf("    ✓ as %s says: %s\n", s.from, strings.Join(s.want, ", "))
		}
	}
	fmt.Println("\nCtrl-C (or make demo-down) stops everything.")
	return nil
}

func (d *demo) steps(ctx context.Context) ([]step, error) {
	var system corev1.Namespace
	if err := d.Env.Hub.Client().Get(ctx, client.ObjectKey{Name: "kube-system"}, &system); err != nil {
		return nil, err
	}
	machine := d.Spoke(d.spokes[0]).Machine("this-machine")
	facts := machine.Facts()
	var hardware []string
	hardware = append(hardware, facts.Processor)
	for _, nic := range facts.NICs {
		hardware = append(hardware, nic.MAC)
	}
	for _, disk := range facts.Disks {
		hardware = append(hardware, fmt.Sprint(disk.Bytes))
	}
	hardware = append(hardware, fmt.Sprint(facts.MemoryBytes))

	const api = `curl -s --cacert $O2IMS_CA -H "Authorization: Bearer $O2IMS_TOKEN" $O2IMS_URL` + inventoryV1
	const pool = `POOL=$(` + api + `/resourcePools | jq -r '.[] | select(.name=="%s").resourcePoolId')` + "\n"
	const byNode = `'.[] | select(.extensions.node.name=="%s")`
	spoke1, spoke2 := d.spokes[0], d.spokes[1]
	node2 := "r610"
	const consumer = "3f20d850-af4f-a84f-fb5a-0ad585410361"
	steps := []step{
		{
			title:   "The O-Cloud. Its id is the UID of the hub's namespace kube-system.",
			command: api + " | jq .",
			want:    []string{string(system.UID)}, from: "kubectl get namespace kube-system",
		},
		{
			title:   "The managed clusters are its deployment managers.",
			command: api + `/deploymentManagers | jq -r '.[] | [.name, .deploymentManagerId, .serviceUri] | @tsv'`,
			want:    d.spokes, from: "kubectl get managedclusters",
		},
		{
			title:   "OCM says that the add-on is well on each of them.",
			command: "kubectl --kubeconfig $HUB_KUBECONFIG get managedclusteraddons -A",
			want:    []string{"o2ims", "True"}, from: "OCM",
		},
		{
			title: "This machine, as its own probe read it.",
			command: fmt.Sprintf(pool, spoke1) + `SERVER=$(` + api + `/resourcePools/$POOL/resources | jq -r '.[0].resourceId')` + "\n" +
				api + `"/resourcePools/$POOL/resources/$SERVER?all_fields" |
  jq -c '.elements[].extensions | {class, slot, model, mac: .port.mac, bytes: (.storage.bytes // .memory.bytes)} | del(..|nulls)'`,
			want: hardware, from: "/proc and /sys",
		},
		{
			title:   "The report as it stands on the hub, readable, and who said what in it.",
			command: "kubectl --kubeconfig $HUB_KUBECONFIG -n " + spoke1 + " get managedclusteraddon o2ims -o yaml |\n  o2ims report decode - | jq -c '.nodes[0].server'",
			want:    []string{fmt.Sprintf(`"memoryBytes":%d`, facts.MemoryBytes)}, from: "/proc/meminfo",
		},
		{
			title: "Where each attribute comes from, and what the sources disagree on.",
			command: fmt.Sprintf(pool, spoke2) + `SERVER=$(` + api + `/resourcePools/$POOL/resources | jq -r ` + fmt.Sprintf(byNode, node2) + `.resourceId')` + "\n" +
				`o2ims report decode --kubeconfig $HUB_KUBECONFIG --cluster ` + spoke2 + ` --why $SERVER | sed -n 1,12p`,
			want: []string{"smbios"}, from: "the machine's firmware table",
		},
		{
			title: "A change on a spoke shows on the hub: cordon a node, and its adminState becomes LOCKED.",
			command: fmt.Sprintf(pool, spoke2) + "kubectl --kubeconfig $SPOKE2_KUBECONFIG cordon " + node2 + "\n" +
				"until " + api + `/resourcePools/$POOL/resources | jq -e ` + fmt.Sprintf(byNode, node2) + `.extensions | select(.adminState=="LOCKED") | {model, adminState}'; do sleep 0.2; done` + "\n" +
				"kubectl --kubeconfig $SPOKE2_KUBECONFIG uncordon " + node2,
			want: []string{"LOCKED"}, from: "kubectl cordon",
		},
		{
			title:   "The SMO, which is `o2ims smo` here, subscribes to changes of the inventory.",
			command: api + `/subscriptions -H 'Content-Type: application/json' -d '{"consumerSubscriptionId":"` + consumer + `","callback":"'$SMO_URL'/inventory"}' | jq -c .`,
			want:    []string{consumer}, from: "the SMO",
		},
		{
			title: "Somebody pulls a network cable on spoke2, and the SMO is told: what was, and what is.",
			command: "demo machine $SPOKE2_R610 unplug enp5s0f0\n" +
				`until curl -s --cacert $SMO_CA $SMO_URL/journal | jq -c '.body | select(.priorObjectState.extensions.nics.enp5s0f0.link == "up") |
  {notificationId, notificationEventType, objectRef, prior: .priorObjectState.extensions.nics.enp5s0f0, post: .postObjectState.extensions.nics.enp5s0f0}' | grep '"post":{"link":"down"'; do sleep 0.2; done` + "\n" +
				"demo machine $SPOKE2_R610 plug enp5s0f0",
			want: []string{`"prior":{"link":"up"`, `"post":{"link":"down"`}, from: "who pulled it",
		},
	}
	return slices.Concat(steps[:3], trustSteps(string(system.UID)), steps[3:], d.alarmSteps(spoke2, node2), []step{
		{
			title:   "Nothing is lost: what the O-Cloud counts is what the SMO has.",
			command: "o2ims verify --url $O2IMS_URL --ca-file $O2IMS_CA --journal $SMO_JOURNAL --wait 30s",
		},
		{
			title:   "Nobody is served without a token.",
			command: `curl -s -o /dev/null -w '%{http_code}\n' --cacert $O2IMS_CA $O2IMS_URL` + inventoryV1,
			want:    []string{"401"}, from: "RFC 6750",
		},
	}), nil
}

// stepPatience is how long a step may wait for what it is to show.
const stepPatience = 2 * time.Minute

// shell runs a command as somebody would who has read .demo/env.
func (d *demo) shell(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -euo pipefail; source "+quote(envFile(d.dir))+"\n"+command)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// abridge keeps what fits on a screen.
func abridge(text string, lines int) string {
	list := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range list {
		if r := []rune(line); len(r) > 150 {
			list[i] = string(r[:150]) + " …"
		}
	}
	if len(list) > lines {
		list = append(list[:lines], fmt.Sprintf("… and %d lines more", len(list)-lines))
	}
	return strings.Join(list, "\n")
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }
