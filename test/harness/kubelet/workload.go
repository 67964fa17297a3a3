package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// ref names a workload.
type ref struct{ kind, namespace, name string }

func (r ref) String() string { return r.kind + " " + r.namespace + "/" + r.name }

// workload is a Deployment or DaemonSet and its pods.
type workload struct {
	uid     types.UID // a workload made again under its name is another
	pods    []*pod
	refusal string    // what admission last said against a pod; "" when nothing
	retryAt time.Time // when to ask it again
}

// sync makes the pods what the cluster wants them to be, and says so in the workloads'
// status. It is safe to repeat.
func (k *Kubelet) sync(ctx context.Context) {
	nodes := k.world.nodeList()
	k.services.update(k.world.services())

	wanted := map[ref]bool{}
	for _, d := range k.world.deployments() {
		r := ref{"Deployment", d.Namespace, d.Name}
		wanted[r] = true
		k.syncDeployment(ctx, r, d, nodes)
	}
	for _, d := range k.world.daemonSets() {
		r := ref{"DaemonSet", d.Namespace, d.Name}
		wanted[r] = true
		k.syncDaemonSet(ctx, r, d, nodes)
	}
	for r, w := range k.workloads {
		if wanted[r] {
			continue
		}
		for _, p := range w.pods {
			p.end(0)
		}
		if k.forgetGone(w); len(w.pods) == 0 {
			k.mu.Lock()
			delete(k.workloads, r)
			k.mu.Unlock()
		}
	}
	for _, p := range k.allPods() {
		p.refresh(ctx)
	}
}

// workload finds a workload's record. One that was deleted and made again between two
// looks loses its pods.
func (k *Kubelet) workload(r ref, uid types.UID) *workload {
	w := k.workloads[r]
	if w == nil {
		w = &workload{uid: uid}
		k.mu.Lock()
		k.workloads[r] = w
		k.mu.Unlock()
	}
	if w.uid != uid {
		for _, p := range w.pods {
			p.end(0)
		}
		w.uid = uid
	}
	k.forgetGone(w)
	return w
}

// forgetGone drops the pods of which nothing is left.
func (k *Kubelet) forgetGone(w *workload) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w.pods = slices.DeleteFunc(w.pods, func(p *pod) bool {
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
}

func (w *workload) views(minReadySeconds int32) []podView {
	var views []podView
	now := time.Now()
	for _, p := range w.pods {
		views = append(views, p.view(now, time.Duration(minReadySeconds)*time.Second))
	}
	return views
}

func (k *Kubelet) syncDeployment(ctx context.Context, r ref, d *appsv1.Deployment, nodes []*corev1.Node) {
	w, hash := k.workload(r, d.UID), templateHash(&d.Spec.Template)
	for _, p := range w.pods {
		if view := p.view(time.Now(), 0); view.placed && !k.hasNode(nodes, view.node) {
			p.end(0)
		}
	}
	start, stop := rolloutOf(d).plan(hash, w.views(d.Spec.MinReadySeconds))
	for _, i := range stop {
		w.pods[i].end(0)
	}
	labels := map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: hash}
	k.startPods(ctx, w, start, func() *corev1.Pod {
		return podFrom(d.Namespace, d.Name+"-"+hash, &d.Spec.Template, labels)
	}, r, hash, nil)
	k.placePods(ctx, w, nodes)
	k.writeDeploymentStatus(ctx, d, deploymentStatus(d, hash, w.views(d.Spec.MinReadySeconds), w.refusal, metav1.Now()))
}

func (k *Kubelet) syncDaemonSet(ctx context.Context, r ref, d *appsv1.DaemonSet, nodes []*corev1.Node) {
	w, hash := k.workload(r, d.UID), templateHash(&d.Spec.Template)
	spec := d.Spec.Template.Spec.DeepCopy()
	spec.Tolerations = append(spec.Tolerations, daemonTolerations(spec.HostNetwork)...)
	var names []string
	byName := map[string]*corev1.Node{}
	for _, n := range nodes {
		if d.DeletionTimestamp == nil && refusedBy(n, spec) == "" {
			names = append(names, n.Name)
			byName[n.Name] = n
		}
	}
	start, stop := daemonRolloutOf(d, len(names)).plan(names, hash, w.views(d.Spec.MinReadySeconds))
	for _, i := range stop {
		w.pods[i].end(0)
	}
	labels := map[string]string{appsv1.DefaultDaemonSetUniqueLabelKey: hash}
	for _, name := range start {
		k.startPods(ctx, w, 1, func() *corev1.Pod {
			pod := podFrom(d.Namespace, d.Name, &d.Spec.Template, labels)
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, daemonTolerations(pod.Spec.HostNetwork)...)
			return pod
		}, r, hash, byName[name])
	}
	k.writeDaemonSetStatus(ctx, d, daemonSetStatus(d, hash, names, w.views(d.Spec.MinReadySeconds)))
}

// startPods submits pods to admission and takes those that pass; the first refusal ends
// the attempt for a second. With a node they are placed there, without one nowhere yet.
func (k *Kubelet) startPods(ctx context.Context, w *workload, count int, build func() *corev1.Pod, r ref, hash string, node *corev1.Node) {
	if count <= 0 {
		k.refused(w, r, nil)
	}
	for range count {
		if ctx.Err() != nil || time.Now().Before(w.retryAt) {
			return
		}
		object, err := k.admit(ctx, build())
		if ctx.Err() != nil {
			return
		}
		k.refused(w, r, err)
		if err != nil {
			return
		}
		p := newPod(k, r, hash, object)
		k.mu.Lock()
		w.pods = append(w.pods, p)
		k.mu.Unlock()
		if node != nil {
			if err := p.place(ctx, node.Name, node); err != nil {
				k.opts.Log.Error("pod not placed", "pod", p.name(), "error", err)
			}
		}
	}
}

// refused keeps what admission said, and logs it when it is news.
func (k *Kubelet) refused(w *workload, r ref, err error) {
	text := ""
	if err != nil {
		text = err.Error()
		w.retryAt = time.Now().Add(retryInterval)
	}
	k.mu.Lock()
	news := text != w.refusal
	w.refusal = text
	k.mu.Unlock()
	if news && text != "" {
		k.opts.Log.Warn("pod refused", "workload", r.String(), "error", err)
	}
}

// admit submits a pod as a dry run and returns it as admission completed it: defaults,
// service account, its token's volume. The error is the apiserver's, word for word.
func (k *Kubelet) admit(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	admitted, err := k.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return nil, err
	}
	if admitted.UID == "" {
		admitted.UID = uuid.NewUUID()
	}
	return admitted, unplayed(&admitted.Spec)
}

// placePods finds nodes for pods that have none. A cluster without any Node object
// still runs Deployments, on a node that bears the cluster's name.
func (k *Kubelet) placePods(ctx context.Context, w *workload, nodes []*corev1.Node) {
	podsOn := map[string]int{}
	for _, p := range k.allPods() {
		podsOn[p.view(time.Now(), 0).node]++
	}
	for _, p := range w.pods {
		if view := p.view(time.Now(), 0); view.placed || view.stopping {
			continue
		}
		name := k.opts.ClusterName
		var node *corev1.Node
		if len(nodes) > 0 {
			var why string
			if node, why = choose(nodes, &p.object.Spec, podsOn); node == nil {
				p.wait("Pending: " + why)
				continue
			}
			name = node.Name
		}
		if err := p.place(ctx, name, node); err != nil {
			p.wait("Pending: " + err.Error())
			continue
		}
		podsOn[name]++
	}
}

// hasNode says whether a pod's node is still there.
func (k *Kubelet) hasNode(nodes []*corev1.Node, name string) bool {
	if len(nodes) == 0 {
		return name == k.opts.ClusterName
	}
	return slices.ContainsFunc(nodes, func(n *corev1.Node) bool { return n.Name == name })
}

// podFrom makes a pod of a template, under a new name.
func podFrom(namespace, prefix string, template *corev1.PodTemplateSpec, labels map[string]string) *corev1.Pod {
	const most = 63 - 6 // so that the name also fits a host name
	prefix = strings.TrimRight(prefix[:min(len(prefix), most)], "-.")
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	pod.Namespace, pod.Name = namespace, fmt.Sprintf("%s-%s", prefix, rand.String(5))
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	for key, value := range labels {
		pod.Labels[key] = value
	}
	return pod
}

// templateHash tells templates apart.
func templateHash(template *corev1.PodTemplateSpec) string {
	text, err := json.Marshal(template)
	if err != nil { // an API type always marshals
		panic(err)
	}
	h := fnv.New32a()
	_, _ = h.Write(text)
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}
