// Package server hosts the registry's handler on one machine: `slipway serve`.
//
//	listener ─▶ observe (id, log, metrics, panics) ─▶ mux ─┬─▶ /healthz, /metrics
//	                                                       ├─▶ control API
//	                                                       └─▶ registry ─▶ model ─▶ table (bolt)
//	                                                                   ╰─▶ blobs (disk)
//	sweeper ─▶ model, blobs
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-oci/slipway/internal/auth"
	"github.com/slipway-oci/slipway/internal/control"
	"github.com/slipway-oci/slipway/internal/datadir"
	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/metrics"
	"github.com/slipway-oci/slipway/internal/registry"
)

// Limits of a connection. There is none on the time that a request or an answer
// may take as long as it moves: a large layer over a slow line takes hours.
const (
	defaultBodyIdle   = time.Minute
	defaultAnswerIdle = 2 * time.Minute
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	// http2Window is how much of a body may be on its way before it is read.
	// Go's default of 1 MiB holds an upload over a long line back.
	http2Window = 8 << 20
	// sideTimeout is how long an answer on the address for monitoring may take.
	sideTimeout = time.Minute
	// noticeTimeout is how long requests whose connection was cut may take to
	// notice it.
	noticeTimeout = 5 * time.Second
)

// Server is a registry on this machine. Make it with New.
type Server struct {
	opts    Options
	log     *slog.Logger
	data    *datadir.Dir
	metrics *metrics.Metrics
	health  *health
	sweeper *sweeper

	listener net.Listener
	http     *http.Server
	secure   bool // by TLS

	side     net.Listener // of --metrics-listen; nil without
	sideHTTP *http.Server

	active atomic.Int64 // requests being answered
}

// New opens the data directory and the listeners. After it, either Serve or
// Close has to be called.
func New(opts Options) (_ *Server, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Limits.BodyIdle == 0 {
		opts.Limits.BodyIdle = defaultBodyIdle
	}
	if opts.AnswerIdle == 0 {
		opts.AnswerIdle = defaultAnswerIdle
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	s := &Server{opts: opts, log: opts.Log}
	defer func() {
		if err != nil {
			_ = s.Close() // the error that counts is the first one
		}
	}()

	var cert *certificate
	if opts.TLSCert != "" {
		if cert, err = loadCertificate(opts.TLSCert, opts.TLSKey, s.log); err != nil {
			return nil, err
		}
	}
	var authorizer registry.Authorizer
	if opts.Htpasswd != "" {
		users, err := auth.OpenHtpasswd(opts.Htpasswd, s.log)
		if err != nil {
			return nil, err
		}
		authorizer = users
	}
	if s.data, err = datadir.Open(opts.Data); err != nil {
		if errors.Is(err, datadir.ErrInUse) {
			return nil, fmt.Errorf("%w: another registry runs on it; stop that one, or give this one its own with --data DIR", err)
		}
		return nil, err
	}
	handler, err := s.handler(authorizer)
	if err != nil {
		return nil, err
	}
	s.http = s.newHTTPServer(handler)
	if cert != nil {
		s.http.TLSConfig, s.secure = cert.config(), true
	}
	if s.listener, err = listen(opts.Listen, "--listen"); err != nil {
		return nil, err
	}
	if opts.MetricsListen != "" {
		s.sideHTTP = s.newHTTPServer(s.sideHandler())
		s.sideHTTP.WriteTimeout = sideTimeout
		if s.side, err = listen(opts.MetricsListen, "--metrics-listen"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// handler wires everything that answers requests on the main address.
func (s *Server) handler(authorizer registry.Authorizer) (http.Handler, error) {
	key, err := s.data.UploadKey()
	if err != nil {
		return nil, err
	}
	s.metrics = metrics.New(s.opts.Version, s.opts.GoVersion)
	blobs := s.metrics.Storage.Blobs(s.data.Blobs)
	model := meta.New(s.metrics.Storage.Table(s.data.Table), s.opts.Meta)
	reg, err := registry.New(registry.Config{
		Meta:         model,
		Blobs:        blobs,
		UploadKeys:   [][]byte{key},
		Authorizer:   authorizer,
		Limits:       s.opts.Limits,
		AllowMissing: s.opts.AllowMissing,
		Log:          s.log,
		Clock:        s.opts.Meta.Clock,
	})
	if err != nil {
		return nil, err
	}
	// The health check reads past the counters: it is no traffic.
	s.health = &health{table: s.data.Table, version: s.opts.Version, log: s.log}
	s.sweeper = &sweeper{model: model, blobs: blobs, interval: s.opts.SweepInterval, log: s.log, metrics: s.metrics.Sweeps}

	m := &mux{
		health:   s.health,
		control:  control.New(model, authorizer, s.log, s.opts.Limits.BodyIdle),
		registry: reg,
	}
	if s.opts.Metrics {
		m.metrics = guard(s.metrics.Handler(), authorizer)
	}
	observed := observe(m, routeName, s.log, s.metrics.Requests, s.opts.AnswerIdle)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.active.Add(1)
		defer s.active.Add(-1)
		observed.ServeHTTP(w, r)
	}), nil
}

// sideHandler answers on the address for monitoring, without credentials: who
// opens it decides who can reach it.
func (s *Server) sideHandler() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET "+pathHealth, s.health)
	m.Handle("GET "+pathMetrics, s.metrics.Handler())
	return m
}

func (s *Server) newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		// net/http reads what a handler left of a body, up to 256 KiB, before it
		// sends the answer: without a bound, a client that announces a body and
		// sends none would hold a connection for ever, and needs no credential
		// for it. It has to be here and not around the handler, because some
		// requests net/http answers itself (OPTIONS *, Expect). Whoever reads a
		// large body moves the deadline on, and net/http takes it back at the
		// body's end: no handler, answer or pause between requests has it.
		ReadTimeout:    s.opts.Limits.BodyIdle,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		// Broken handshakes and the like: a scanner's visit, not our trouble.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerConnection: http2Window,
			MaxReceiveBufferPerStream:     http2Window / 2,
			// The deadlines of answers are a stream's; this one is for a client
			// that reads nothing of the connection at all.
			WriteByteTimeout: s.opts.AnswerIdle,
		},
	}
}

func listen(address, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with %s HOST:PORT", err, flag)
	}
	return l, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Data is the open data directory.
func (s *Server) Data() *datadir.Dir { return s.data }

// Serve answers requests until ctx ends, and then lets those in flight end. It
// closes the data directory before it returns. An error says what went wrong;
// an orderly end is none.
func (s *Server) Serve(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	if s.opts.SweepInterval > 0 {
		running.Go(func() { s.sweeper.run(background) })
	}
	failed := make(chan error, 2)
	go func() {
		if s.secure {
			failed <- s.http.ServeTLS(s.listener, "", "")
		} else {
			failed <- s.http.Serve(s.listener)
		}
	}()
	if s.side != nil {
		go func() { failed <- s.sideHTTP.Serve(s.side) }()
	}

	var err error
	select {
	case <-ctx.Done():
		s.log.Info("stopping: requests in flight may end", "timeout", s.opts.ShutdownTimeout)
		err = s.drain()
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
		s.cutOff()
	}
	stop()
	running.Wait()
	err = errors.Join(err, s.Close())
	s.log.Info("stopped")
	return err
}

// drain stops accepting and waits for the requests in flight. The address for
// monitoring answers to the end, so that a balancer can see what goes on.
func (s *Server) drain() error {
	s.health.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.ShutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.cutOff()
		return fmt.Errorf("requests were still in flight after --shutdown-timeout (%s) and were cut off; "+
			"clients can resume or repeat them", s.opts.ShutdownTimeout)
	}
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// cutOff closes all connections and waits a moment for the handlers to notice,
// so that they do not find the table closed.
func (s *Server) cutOff() {
	_ = s.http.Close()
	for deadline := time.Now().Add(noticeTimeout); s.active.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
}

// Close lets go of everything without waiting for requests. Serve does it by
// itself.
func (s *Server) Close() error {
	var errs []error
	closed := func(err error) {
		// A listener is closed by whichever of its owners comes first.
		if err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.sideHTTP != nil {
		closed(s.sideHTTP.Close())
	}
	for _, l := range []net.Listener{s.listener, s.side} {
		if l != nil {
			closed(l.Close())
		}
	}
	if s.data != nil {
		errs = append(errs, s.data.Close())
		s.data = nil
	}
	return errors.Join(errs...)
}
