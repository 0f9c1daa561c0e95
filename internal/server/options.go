package server

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/registry"
)

// Options are the settings of a Server. The command line documents each of them
// for those who run it; the defaults there are the ones to use.
type Options struct {
	Listen string // host:port; port 0 takes a free one
	Data   string // data directory

	TLSCert, TLSKey string // both or none

	Htpasswd             string // file of users; "" for no authentication
	AllowUnauthenticated bool   // permission to listen beyond loopback without it

	Meta         meta.Options
	Limits       registry.Limits
	AllowMissing bool // accept sparse indexes and images

	// AnswerIdle is how long an answer may stand still, because its client does
	// not read, before it is cut off. Default 2 min.
	AnswerIdle time.Duration

	SweepInterval   time.Duration // 0: never sweep
	ShutdownTimeout time.Duration // how long requests in flight may take to end

	Metrics       bool   // /metrics on the main address
	MetricsListen string // a further address that serves /metrics and /healthz; "" for none

	Version   string
	GoVersion string
	Log       *slog.Logger // nil: nothing is logged
}

func (o Options) check() error {
	if o.Listen == "" || o.Data == "" {
		return errors.New("an address to listen on and a data directory are required")
	}
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return errors.New("TLS needs both --tls-cert and --tls-key")
	}
	if o.Meta.Grace < 0 || o.SweepInterval < 0 || o.ShutdownTimeout < 0 || o.Meta.UploadAge < 0 ||
		o.Limits.BodyIdle < 0 || o.AnswerIdle < 0 {
		return errors.New("no period of time can be negative")
	}
	if err := checkExposure(o.Listen, o.Htpasswd != "", o.AllowUnauthenticated); err != nil {
		return err
	}
	if o.MetricsListen != "" {
		if _, err := loopbackOnly(o.MetricsListen); err != nil {
			return fmt.Errorf("--metrics-listen: %w", err)
		}
	}
	return nil
}
