package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writeCertificate writes a self-signed pair for 127.0.0.1 and returns a pool
// that trusts it.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "slipway test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: rawKey},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

func TestTLS(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "crt"), filepath.Join(t.TempDir(), "key")
	pool := writeCertificate(t, certFile, keyFile, 1)
	h := start(t, func(o *Options) { o.TLSCert, o.TLSKey = certFile, keyFile })

	get := func(config *tls.Config, http2 bool) (*http.Response, error) {
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2, DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: transport}).Get(h.url + "/v2/")
		if err == nil {
			resp.Body.Close()
		}
		transport.CloseIdleConnections()
		return resp, err
	}
	resp, err := get(&tls.Config{RootCAs: pool}, true)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("%s %s, want 200 by HTTP/2", resp.Proto, resp.Status)
	}
	if resp, err := get(&tls.Config{RootCAs: pool}, false); err != nil || resp.ProtoMajor != 1 {
		t.Errorf("HTTP/1 over TLS: %v", err)
	}
	if _, err := get(&tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, false); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if resp, err := http.Get("http://" + h.Addr().String() + "/v2/"); err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP on the TLS port: %s", resp.Status)
		}
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "crt"), filepath.Join(t.TempDir(), "key")
	writeCertificate(t, certFile, keyFile, 1)
	log := new(logBuffer)
	logger, err := NewLogger(log, "text", "info")
	if err != nil {
		t.Fatal(err)
	}
	c, err := loadCertificate(certFile, keyFile, logger)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		c.checked = time.Time{} // as if a second had gone by
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Fatalf("serial %d", got)
	}
	touch := func(at time.Time) {
		t.Helper()
		for _, name := range []string{certFile, keyFile} {
			if err := os.Chtimes(name, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	writeCertificate(t, certFile, keyFile, 2)
	touch(time.Now().Add(time.Minute))
	if got := serial(); got != 2 {
		t.Errorf("after a renewal the serial is %d", got)
	}
	if err := os.WriteFile(keyFile, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("after half of a renewal the serial is %d", got)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("without its file the serial is %d", got)
	}
	writeCertificate(t, certFile, keyFile, 3)
	touch(time.Now().Add(2 * time.Minute))
	if got := serial(); got != 3 {
		t.Errorf("after the next renewal the serial is %d", got)
	}
	if _, err := loadCertificate(certFile, "", logger); err == nil {
		t.Error("half a pair is accepted")
	}
}
