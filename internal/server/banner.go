package server

import (
	"fmt"
	"io"
	"net"
)

// Banner tells a person where the registry is and what to try.
func (s *Server) Banner(w io.Writer) {
	scheme := "http"
	if s.secure {
		scheme = "https"
	}
	host := s.clientHost()
	fmt.Fprintf(w, "Slipway %s\n\n", s.opts.Version)
	fmt.Fprintf(w, "  listens on  %s://%s\n", scheme, s.Addr())
	fmt.Fprintf(w, "  data in     %s\n", s.data.Path)
	if s.side != nil {
		fmt.Fprintf(w, "  metrics on  http://%s%s\n", s.side.Addr(), pathMetrics)
	}
	if s.opts.Htpasswd != "" {
		fmt.Fprintf(w, "  users from  %s\n", s.opts.Htpasswd)
	} else if s.opts.AllowUnauthenticated {
		fmt.Fprintf(w, "  users       none: whoever reaches the address may do everything\n")
	}
	fmt.Fprintf(w, "\nTry, with any image you have:\n\n")
	if s.opts.Htpasswd != "" {
		fmt.Fprintf(w, "  docker login %s\n", host)
	}
	fmt.Fprintf(w, "  docker tag alpine %s/alpine\n", host)
	fmt.Fprintf(w, "  docker push %s/alpine\n", host)
	fmt.Fprintf(w, "  docker pull %s/alpine\n\n", host)
}

// clientHost is the host and port to write into image names on this machine.
func (s *Server) clientHost() string {
	host, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return s.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// FormatBytes writes a number of bytes for a person.
func FormatBytes(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d bytes", n)
	}
	value, unit := float64(n)/step, 0
	for value >= step && unit < 3 {
		value /= step
		unit++
	}
	return fmt.Sprintf("%.1f %s", value, []string{"KiB", "MiB", "GiB", "TiB"}[unit])
}
