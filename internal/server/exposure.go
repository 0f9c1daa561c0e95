package server

import (
	"fmt"
	"net"
)

// checkExposure refuses an address that others can reach when everybody who
// reaches it could read, overwrite and delete everything.
func checkExposure(listen string, authenticated, allowed bool) error {
	if authenticated || allowed {
		return nil
	}
	ok, err := loopbackOnly(listen)
	if err != nil {
		return err
	}
	if ok {
		return nil
	}
	return fmt.Errorf("refusing to listen on %s without authentication: everybody who can reach it could read, "+
		"overwrite and delete all images. Either give a file of users with --htpasswd FILE (make one with "+
		"`htpasswd -cB FILE USER`), or listen on 127.0.0.1 only, or, where the network itself keeps others out, "+
		"say --allow-unauthenticated", listen)
}

// loopbackOnly reports whether only this machine can reach the address.
func loopbackOnly(listen string) (bool, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false, fmt.Errorf("the address %q to listen on is not of the form HOST:PORT: %w", listen, err)
	}
	if host == "" {
		return false, nil // every interface
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback(), nil
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return false, fmt.Errorf("the host of the address %q to listen on: %w", listen, err)
	}
	for _, ip := range ips {
		if !ip.IsLoopback() {
			return false, nil
		}
	}
	return len(ips) > 0, nil
}
