package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/registry"
	"github.com/slipway-oci/slipway/internal/server"
)

type serveCommand struct {
	Config string `help:"Take the values of flags from this file: YAML or JSON with the names of flags as keys. Flags and environment come first." placeholder:"FILE"`

	Listen string `help:"Address to listen on, HOST:PORT. Beyond loopback it needs --htpasswd or --allow-unauthenticated." default:"127.0.0.1:5000" placeholder:"HOST:PORT"`
	Data   string `help:"Directory that holds everything: metadata and blobs. Created if it is not there." default:"./data" placeholder:"DIR"`

	TLSCert string `name:"tls-cert" help:"Certificate chain for HTTPS, PEM. Read again when it changes." placeholder:"FILE"`
	TLSKey  string `name:"tls-key" help:"Private key of --tls-cert, PEM." placeholder:"FILE"`

	Htpasswd             string `help:"File of users, bcrypt entries as by 'htpasswd -B'. Nobody else gets in then. Read again when it changes." placeholder:"FILE"`
	AllowUnauthenticated bool   `help:"Listen beyond loopback without --htpasswd: whoever reaches the address may do everything."`

	MaxManifestSize     size          `help:"Largest manifest; 1KiB to 64MiB." default:"4MiB" placeholder:"SIZE"`
	MaxManifestRefs     int           `help:"Most descriptors in one manifest; 1 to 2000." default:"2000" placeholder:"N"`
	MaxBlobSize         size          `help:"Largest blob; 0 for no limit." default:"50GiB" placeholder:"SIZE"`
	MaxUploads          int           `help:"Most open uploads in one repository; 1 to 100000." default:"1000" placeholder:"N"`
	UploadAge           time.Duration `help:"How long an upload may take from start to end; at least 1s." default:"24h" placeholder:"TIME"`
	UploadIdleTimeout   time.Duration `help:"How long a body may stand still before the request ends; the upload can be resumed. At least 1s." default:"1m" placeholder:"TIME"`
	DownloadIdleTimeout time.Duration `help:"How long an answer may stand still, because its client does not read, before it is cut off; 1 MiB has to get through in this time (by default 50 KB/s is safe). At least 1s." default:"2m" placeholder:"TIME"`
	ImmutableTags       bool          `help:"New repositories get immutable tags: a tag, once pushed, cannot be moved."`
	AllowMissing        bool          `help:"Accept sparse indexes and images: what a manifest lists need not be there."`

	Grace         time.Duration `help:"How long content that nothing refers to is kept before it is marked, and again before its bytes are deleted; at least 1ms." default:"6h" placeholder:"TIME"`
	SweepInterval time.Duration `help:"How often to look for content whose time is up; 0 for never." default:"1m" placeholder:"TIME"`

	ShutdownTimeout time.Duration `help:"How long uploads and downloads in flight may take to end after SIGTERM. A second signal ends at once." default:"5m" placeholder:"TIME"`

	LogFormat string `help:"Format of the log on stderr: text or json." enum:"text,json" default:"text" placeholder:"FORMAT"`
	LogLevel  string `help:"Least level to log: debug, info, warn or error." enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL"`

	Metrics       bool   `help:"Serve Prometheus metrics at /metrics; with --htpasswd they need a credential there." default:"true" negatable:""`
	MetricsListen string `help:"A further address for /metrics and /healthz, without credentials; answers until the very end." placeholder:"HOST:PORT"`
}

// Run serves until a signal comes.
func (c *serveCommand) Run(o output) error {
	log, err := server.NewLogger(o.err, c.LogFormat, c.LogLevel)
	if err != nil {
		return err
	}
	maxBlob := int64(c.MaxBlobSize)
	if maxBlob == 0 {
		maxBlob = -1 // the handler's word for "no limit"
	}
	srv, err := server.New(server.Options{
		Listen:               c.Listen,
		Data:                 c.Data,
		TLSCert:              c.TLSCert,
		TLSKey:               c.TLSKey,
		Htpasswd:             c.Htpasswd,
		AllowUnauthenticated: c.AllowUnauthenticated,
		Meta: meta.Options{
			Grace:         c.Grace,
			UploadAge:     c.UploadAge,
			MaxUploads:    c.MaxUploads,
			ImmutableTags: c.ImmutableTags,
		},
		Limits: registry.Limits{
			ManifestBytes: int64(c.MaxManifestSize),
			References:    c.MaxManifestRefs,
			BlobBytes:     maxBlob,
			BodyIdle:      c.UploadIdleTimeout,
			UploadAge:     c.UploadAge,
		},
		AllowMissing:    c.AllowMissing,
		AnswerIdle:      c.DownloadIdleTimeout,
		SweepInterval:   c.SweepInterval,
		ShutdownTimeout: c.ShutdownTimeout,
		Metrics:         c.Metrics,
		MetricsListen:   c.MetricsListen,
		Version:         buildVersion(),
		GoVersion:       runtime.Version(),
		Log:             log,
	})
	if err != nil {
		return err
	}
	srv.Banner(o.out)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// From the first signal on the next one does what it does by default: it
	// ends the process.
	context.AfterFunc(ctx, stop)
	return srv.Serve(ctx)
}
