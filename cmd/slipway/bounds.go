package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-oci/slipway/internal/meta"
)

// Bounds of flags. Further down a zero means "the default" and some values mean
// nothing at all: what a person says is refused here, where it has a name, and
// never made into something else.
const (
	// A manifest is held in memory while it is pushed.
	leastManifestSize, mostManifestSize = 1 << 10, 64 << 20
	// Opening an upload counts those that are open.
	mostUploads = 100_000
	// Rows are kept under their time: a far future is a mistake.
	mostPeriod = 365 * 24 * time.Hour
	// A connection is held for as long.
	leastIdle, mostIdle = time.Second, 24 * time.Hour
	leastGrace          = time.Millisecond
	leastUploadAge      = time.Second
)

// Validate is called by kong, whatever the values come from.
func (c *serveCommand) Validate() error {
	return firstError(
		within("max-manifest-size", c.MaxManifestSize, leastManifestSize, mostManifestSize),
		within("max-manifest-refs", c.MaxManifestRefs, 1, meta.MaxReferences),
		within("max-uploads", c.MaxUploads, 1, mostUploads),
		within("upload-age", c.UploadAge, leastUploadAge, mostPeriod),
		within("upload-idle-timeout", c.UploadIdleTimeout, leastIdle, mostIdle),
		within("download-idle-timeout", c.DownloadIdleTimeout, leastIdle, mostIdle),
		within("grace", c.Grace, leastGrace, mostPeriod),
		within("sweep-interval", c.SweepInterval, 0, mostPeriod),
		within("shutdown-timeout", c.ShutdownTimeout, 0, mostIdle),
	)
}

// Validate is called by kong.
func (c *gcCommand) Validate() error {
	return within("grace", c.Grace, leastGrace, mostPeriod)
}

// within returns an error that names the flag if its value is out of bounds.
func within[T cmp.Ordered](flag string, value, least, most T) error {
	if value >= least && value <= most {
		return nil
	}
	return fmt.Errorf("--%s cannot be %s: say a value from %s to %s", flag, plain(value), plain(least), plain(most))
}

// plain writes a value as a person would on the command line: 24h, not 24h0m0s.
func plain(v any) string {
	text := fmt.Sprint(v)
	if _, ok := v.(time.Duration); ok {
		for _, zero := range []struct{ unit, rest string }{{"m", "0s"}, {"h", "0m"}} {
			if strings.HasSuffix(text, zero.unit+zero.rest) {
				text = strings.TrimSuffix(text, zero.rest)
			}
		}
	}
	return text
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
