package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often, at most, a handshake looks whether the files
// of the certificate have changed.
const certificateCheck = time.Second

// certificate is a key pair in two files that may be renewed while the server
// runs (ACME clients do that every few weeks).
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]fileState
	checked time.Time
}

// fileState is what changes when a file is replaced or rewritten.
type fileState struct {
	modified time.Time
	size     int64
}

func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("TLS needs both --tls-cert and --tls-key")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, checked: time.Now()}
	seen, err := c.states()
	if err != nil {
		return nil, fmt.Errorf("load TLS certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load TLS certificate: %w", err)
	}
	c.current, c.seen = &pair, seen
	return c, nil
}

func (c *certificate) states() ([2]fileState, error) {
	var s [2]fileState
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = fileState{info.ModTime(), info.Size()}
	}
	return s, nil
}

// get is a tls.Config's GetCertificate. Where the files have changed it takes
// the new pair; one that does not fit together (half of a renewal) is looked at
// again with the next change, and the old pair serves until then.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateCheck {
		c.checked = now
		c.reload()
	}
	return c.current, nil
}

func (c *certificate) reload() {
	seen, err := c.states()
	if err == nil && seen == c.seen {
		return
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
	}
	if seen != c.seen { // once a change, not once a second
		if err != nil {
			c.log.Error("the TLS certificate has changed and cannot be loaded; the old one stays in use", "error", err)
		} else {
			c.log.Info("TLS certificate reloaded", "file", c.certFile)
		}
	}
	c.seen = seen
	if err == nil {
		c.current = &pair
	}
}

// config returns the server's TLS settings. Go's defaults for ciphers are kept:
// they are maintained, a list here would not be.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}
