// A TLS echo server on Go's crypto/tls, which has the hybrid group X25519MLKEM768.
//
//	go_server CERT KEY VERSION GROUPS
//
// VERSION is 1.2 or 1.3, GROUPS a comma-separated list of numbers. Prints its port, then echoes.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

func main() {
	certificate, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
	if err != nil {
		panic(err)
	}
	version := uint16(tls.VersionTLS13)
	if os.Args[3] == "1.2" {
		version = tls.VersionTLS12
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   version,
		MaxVersion:   version,
		NextProtos:   []string{"echo"},
	}
	for _, group := range strings.Split(os.Args[4], ",") {
		number, err := strconv.Atoi(group)
		if err != nil {
			panic(err)
		}
		config.CurvePreferences = append(config.CurvePreferences, tls.CurveID(number))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		raw, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			connection := tls.Server(raw, config)
			if _, err := io.Copy(connection, connection); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			_ = connection.Close()
		}()
	}
}
