package kubelet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// objects is where a pod's environment and volumes come from: the cluster, or a table
// in a test. What does not exist is an apierrors.IsNotFound error.
type objects interface {
	Secret(namespace, name string) (*corev1.Secret, error)
	ConfigMap(namespace, name string) (*corev1.ConfigMap, error)

	// Token asks for a new token of a service account, and says when it expires.
	Token(ctx context.Context, namespace, serviceAccount, audience string, life time.Duration) (string, time.Time, error)
}

// world is the cluster as informers show it.
type world struct {
	client    kubernetes.Interface
	factories map[string]informers.SharedInformerFactory // by namespace; "" is all
	nodes     informers.SharedInformerFactory
	synced    []cache.InformerSynced
}

// watch begins to follow the cluster and calls changed after each change.
func watch(ctx context.Context, client kubernetes.Interface, namespaces []string, changed func()) *world {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	w := &world{client: client, factories: map[string]informers.SharedInformerFactory{}}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	}
	follow := func(informer cache.SharedIndexInformer) {
		// The only error is a stopped informer, and none of them has started.
		if registration, err := informer.AddEventHandler(handler); err == nil {
			w.synced = append(w.synced, registration.HasSynced)
		}
	}

	w.nodes = informers.NewSharedInformerFactory(client, 0)
	follow(w.nodes.Core().V1().Nodes().Informer())
	w.nodes.Start(ctx.Done())
	for _, ns := range namespaces {
		f := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns))
		w.factories[ns] = f
		for _, informer := range []cache.SharedIndexInformer{
			f.Apps().V1().Deployments().Informer(),
			f.Apps().V1().DaemonSets().Informer(),
			f.Core().V1().Services().Informer(),
			f.Core().V1().Secrets().Informer(),
			f.Core().V1().ConfigMaps().Informer(),
		} {
			follow(informer)
		}
		f.Start(ctx.Done())
	}
	return w
}

func (w *world) waitForSync(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), w.synced...) {
		return errors.Join(errors.New("first read of the cluster cut short"), ctx.Err())
	}
	return nil
}

func (w *world) factory(namespace string) (informers.SharedInformerFactory, error) {
	if f, ok := w.factories[namespace]; ok {
		return f, nil
	}
	if f, ok := w.factories[metav1.NamespaceAll]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("namespace %s is not watched", namespace)
}

func (w *world) Secret(namespace, name string) (*corev1.Secret, error) {
	f, err := w.factory(namespace)
	if err != nil {
		return nil, err
	}
	return f.Core().V1().Secrets().Lister().Secrets(namespace).Get(name)
}

func (w *world) ConfigMap(namespace, name string) (*corev1.ConfigMap, error) {
	f, err := w.factory(namespace)
	if err != nil {
		return nil, err
	}
	return f.Core().V1().ConfigMaps().Lister().ConfigMaps(namespace).Get(name)
}

// Token asks for a token that is not bound to a pod, since there is no Pod object.
func (w *world) Token(ctx context.Context, namespace, serviceAccount, audience string, life time.Duration) (string, time.Time, error) {
	seconds := int64(life.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	answer, err := w.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, serviceAccount, request, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token of service account %s/%s: %w", namespace, serviceAccount, err)
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp.Time, nil
}

// collect gathers the objects of one kind from all namespaces, in order of namespace
// and name.
func collect[T metav1.Object](w *world, list func(informers.SharedInformerFactory) ([]T, error)) []T {
	var all []T
	for _, f := range w.factories {
		some, err := list(f)
		if err == nil { // a lister reads memory and cannot fail
			all = append(all, some...)
		}
	}
	slices.SortFunc(all, func(a, b T) int { return compareNames(a, b) })
	return all
}

func (w *world) deployments() []*appsv1.Deployment {
	return collect(w, func(f informers.SharedInformerFactory) ([]*appsv1.Deployment, error) {
		return f.Apps().V1().Deployments().Lister().List(labels.Everything())
	})
}

func (w *world) daemonSets() []*appsv1.DaemonSet {
	return collect(w, func(f informers.SharedInformerFactory) ([]*appsv1.DaemonSet, error) {
		return f.Apps().V1().DaemonSets().Lister().List(labels.Everything())
	})
}

func (w *world) services() []*corev1.Service {
	return collect(w, func(f informers.SharedInformerFactory) ([]*corev1.Service, error) {
		return f.Core().V1().Services().Lister().List(labels.Everything())
	})
}

func (w *world) nodeList() []*corev1.Node {
	nodes, err := w.nodes.Core().V1().Nodes().Lister().List(labels.Everything())
	if err != nil { // a lister reads memory and cannot fail
		return nil
	}
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return compareNames(a, b) })
	return nodes
}

func compareNames(a, b metav1.Object) int {
	return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
}
