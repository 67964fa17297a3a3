// Package intake hears of alerts on a managed cluster and hands them to the recorder.
//
// There are four ways to hear of one. Alertmanager posts notifications (webhook);
// Prometheus posts alerts as it does to an Alertmanager (push), which also tells of
// episodes that were over before Alertmanager could tell; what Alertmanager lists is
// compared with the book (poll), because it forgets notifications that it could not
// deliver and never sends what is silenced; and what Prometheus kept in its time series
// tells of the time in which nobody was listening (backfill). None needs another, and all
// name an alert by the same fingerprint, that of the labels under which it was sent.
//
// Sources: Alertmanager documentation, webhook_config, and API v2; Prometheus HTTP API v1.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/semaphore"
	"k8s.io/client-go/kubernetes"

	"github.com/o2ims/o2ims/pkg/alert"
	"github.com/o2ims/o2ims/pkg/alert/intake/wire"
	"github.com/o2ims/o2ims/pkg/auth"
	"github.com/o2ims/o2ims/pkg/fault"
	"github.com/o2ims/o2ims/pkg/server"
)

// Names of our objects in the agent's namespace.
const (
	serviceName = "o2ims-alerts"      // in front of the server
	certSecret  = "o2ims-alerts-cert" // the CA of our own
	caConfigMap = "o2ims-alerts-ca"   // ca.crt: what senders are to trust
)

// Options are the settings of the intakes, one flag each unless said otherwise.
type Options struct {
	BindAddress string // IP address to listen on; empty: all. Set by whoever puts the process together
	Namespace   string // of the agent. Likewise

	Port           int      // of webhook and push, TLS; 0: none of the two
	CertFile       string   // served where it is there, even later; else one of our own
	KeyFile        string   // of CertFile
	ClientCAFile   string   // whose client certificates may send; empty: nobody's
	TokenAudiences []string // for which tokens of senders must have been issued; empty: the apiserver's
	Senders        []string // service accounts, namespace/name; empty: RBAC decides

	AlertmanagerURLs []string // all that send to us, to be polled; empty: no poll
	PollInterval     time.Duration
	PrometheusURL    string // to be asked for what was missed; empty: no backfill
	TokenFile        string // shown to Alertmanager and Prometheus, over https only
	CAFile           string // of Alertmanager and Prometheus, beside the system's
}

// AddFlags registers the settings with their defaults.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.IntVar(&o.Port, "alerts-port", 8443, "port on which alerts are received (TLS); 0 for none")
	f.StringVar(&o.CertFile, "alerts-tls-cert-file", "/var/run/o2ims/alerts-tls/tls.crt", "certificate to receive alerts with; while it is not there, the agent issues one from a CA of its own")
	f.StringVar(&o.KeyFile, "alerts-tls-key-file", "/var/run/o2ims/alerts-tls/tls.key", "private key of --alerts-tls-cert-file")
	f.StringVar(&o.ClientCAFile, "alerts-client-ca-file", "", "CA bundle in PEM; whoever has a client certificate of it may send alerts")
	f.StringSliceVar(&o.TokenAudiences, "alert-token-audiences", nil, "audiences for which senders' tokens must have been issued; empty for the apiserver's own, which pods' tokens have")
	f.StringSliceVar(&o.Senders, "alert-senders", nil, "service accounts, namespace/name, that may send alerts; empty for those whom RBAC lets create the path")
	f.StringSliceVar(&o.AlertmanagerURLs, "alertmanager-url", nil, "every Alertmanager that sends to this agent, to be polled as well")
	f.DurationVar(&o.PollInterval, "alert-poll-interval", 30*time.Second, "time between two polls of Alertmanager")
	f.StringVar(&o.PrometheusURL, "prometheus-url", "", "Prometheus that is asked for alerts missed while the agent was down, and for alerting rules")
	f.StringVar(&o.TokenFile, "monitoring-token-file", "/var/run/secrets/kubernetes.io/serviceaccount/token", "bearer token for Alertmanager and Prometheus; sent over https only")
	f.StringVar(&o.CAFile, "monitoring-ca-file", "", "CA bundle in PEM of Alertmanager and Prometheus, beside the system's")
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var faults []error
	bad := func(flag string, why any) {
		faults = append(faults, fmt.Errorf("--%s: %v: %w", flag, why, fault.Invalid))
	}
	if o.Port < 0 || o.Port > 65535 {
		bad("alerts-port", fmt.Sprintf("%d is not a port", o.Port))
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		bad("alerts-tls-cert-file", "--alerts-tls-key-file is needed with it, and the other way round")
	}
	for _, sender := range o.Senders {
		if _, err := userName(sender); err != nil {
			bad("alert-senders", err)
		}
	}
	for _, u := range o.AlertmanagerURLs {
		if _, err := wire.NewEndpoint(u, "", ""); err != nil {
			bad("alertmanager-url", err)
		}
	}
	if o.PrometheusURL != "" {
		if _, err := wire.NewEndpoint(o.PrometheusURL, "", ""); err != nil {
			bad("prometheus-url", err)
		}
	}
	if o.PollInterval < time.Second {
		bad("alert-poll-interval", fmt.Sprintf("%s is less than 1s", o.PollInterval))
	}
	return errors.Join(faults...)
}

// Parts are what the intakes are put together from.
type Parts struct {
	Recorder alert.Recorder

	// Client is the managed cluster's: it reviews tokens, and keeps the CA of our own.
	Client kubernetes.Interface

	// LastAlive tells when intakes last worked, before this process; zero: never. It is
	// asked once.
	LastAlive func(context.Context) (time.Time, error)

	// Dropped is told, by reason, of alerts that no intake could take; it may be nil.
	Dropped func(reason string, n uint64)

	// Now tells the time; nil stands for time.Now.
	Now func() time.Time
}

// Intake is all intakes of an agent.
type Intake struct {
	options   Options
	lastAlive func(context.Context) (time.Time, error)
	receiver  *receiver
	identity  *identity
	poller    *poller     // nil: no poll
	backfill  *backfiller // nil: no backfill
	listener  net.Listener
}

// New returns intakes that do not work yet.
func New(o Options, p Parts) (*Intake, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	i := &Intake{options: o, lastAlive: p.LastAlive}
	for _, u := range o.AlertmanagerURLs {
		e, err := wire.NewEndpoint(u, o.TokenFile, o.CAFile)
		if err != nil {
			return nil, err
		}
		if i.poller == nil {
			i.poller = &poller{recorder: p.Recorder, interval: o.PollInterval, now: p.Now, poke: make(chan struct{}, 1)}
		}
		i.poller.alertmanagers = append(i.poller.alertmanagers, alertmanager{e})
	}
	if o.PrometheusURL != "" {
		e, err := wire.NewEndpoint(o.PrometheusURL, o.TokenFile, o.CAFile)
		if err != nil {
			return nil, err
		}
		i.backfill = &backfiller{prometheus: prometheus{e}, recorder: p.Recorder, stillToo: i.poller == nil, now: p.Now}
	}
	if o.Port == 0 {
		return i, nil
	}
	i.receiver = &receiver{
		recorder: p.Recorder, admission: newAdmission(o, p.Client), now: p.Now,
		drops:     &drops{tell: p.Dropped, now: p.Now},
		truncated: i.pollSoon,
		inFlight:  semaphore.NewWeighted(inFlightBytes),
	}
	i.identity = newIdentity(o, p.Client, p.Now)
	return i, nil
}

func newAdmission(o Options, client kubernetes.Interface) admission {
	a := admission{
		tokens:  auth.NewTokenReviews(client.AuthenticationV1().TokenReviews(), o.TokenAudiences, auth.SystemClock{}),
		reviews: auth.NewAuthorizer(client.AuthorizationV1().SubjectAccessReviews(), auth.SystemClock{}),
		senders: make(map[string]bool),
	}
	for _, sender := range o.Senders {
		if name, err := userName(sender); err == nil { // Validate has seen them
			a.senders[name] = true
		}
	}
	return a
}

func newIdentity(o Options, client kubernetes.Interface, now func() time.Time) *identity {
	i := &identity{certFile: o.CertFile, clientCAFile: o.ClientCAFile}
	if o.CertFile != "" {
		i.files = server.CertificateFromFiles(o.CertFile, o.KeyFile)
	}
	named := server.Options{BindAddress: o.BindAddress, CertSecret: certSecret, Namespace: o.Namespace, ServiceName: serviceName}
	i.own = server.OwnCertificate(named, client.CoreV1().Secrets(o.Namespace), now)
	i.publish = publisher(client, o.Namespace, certSecret, caConfigMap)
	return i
}

func (i *Intake) pollSoon() {
	if i.poller != nil {
		i.poller.soon()
	}
}

// Listen opens the port. Run does it when nobody has; a caller that wants to know the
// address before does it first.
func (i *Intake) Listen() error {
	l, err := net.Listen("tcp", net.JoinHostPort(i.options.BindAddress, strconv.Itoa(i.options.Port)))
	if err != nil {
		return fmt.Errorf("alerts port: %w", err)
	}
	i.listener = l
	return nil
}

// Run works until ctx ends. The hole since the agent was last alive is looked up first, so
// that episodes come in order; but what happens now does not wait long for it.
func (i *Intake) Run(ctx context.Context) error {
	if i.receiver != nil && i.listener == nil {
		if err := i.Listen(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	filled := make(chan struct{})
	group.Go(func() {
		defer close(filled)
		i.fillHole(ctx)
	})
	if i.receiver != nil {
		group.Go(func() { i.identity.keep(ctx) })
	}
	select {
	case <-filled:
	case <-ctx.Done():
	case <-time.After(backfillFirst):
		slog.InfoContext(ctx, "alerts of own downtime are looked up later")
	}
	if i.poller != nil {
		group.Go(func() { i.poller.run(ctx) })
	}
	if i.receiver != nil {
		slog.InfoContext(ctx, "alerts are received", "address", i.listener.Addr().String())
		group.Go(func() {
			if err := i.receiver.serve(ctx, i.listener, i.identity.config()); err != nil && !errors.Is(err, http.ErrServerClosed) {
				cancel(err)
			}
		})
	}
	<-ctx.Done()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	group.Wait()
	return err
}

func (i *Intake) fillHole(ctx context.Context) {
	if i.backfill == nil || i.lastAlive == nil {
		return
	}
	from, err := i.lastAlive(ctx)
	if err != nil {
		slog.WarnContext(ctx, "alerts of own downtime not looked up", "error", err)
		return
	}
	if !from.IsZero() {
		i.backfill.run(ctx, from)
	}
}
