// Package kube is the little of the Kubernetes API that bringing up a cluster takes.
package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"
)

// Client talks to one API server.
type Client struct {
	server string
	http   *http.Client
}

// Open reads a kubeconfig file as kubeadm writes it: one cluster, one user, everything inline.
func Open(kubeconfig string) (*Client, error) {
	raw, err := os.ReadFile(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("open the kubeconfig: %w", err)
	}
	server := regexp.MustCompile(`(?m)^\s*server: (\S+)$`).FindSubmatch(raw)
	authority, errA := inline(raw, "certificate-authority-data")
	certificate, errC := inline(raw, "client-certificate-data")
	key, errK := inline(raw, "client-key-data")
	if err := errors.Join(errA, errC, errK); err != nil || server == nil {
		return nil, fmt.Errorf("%s is not as kubeadm writes it: %w", kubeconfig, err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kubeconfig, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	// No proxy: the cluster's addresses exist on this machine only.
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
		ForceAttemptHTTP2: true,
	}
	return &Client{server: string(server[1]), http: &http.Client{Transport: transport}}, nil
}

func inline(raw []byte, field string) ([]byte, error) {
	match := regexp.MustCompile(`(?m)^\s*` + field + `: (\S+)$`).FindSubmatch(raw)
	if match == nil {
		return nil, fmt.Errorf("it has no %s", field)
	}
	return base64.StdEncoding.DecodeString(string(match[1]))
}

// Apply makes an object what it should be, whether it exists or not.
func (c *Client) Apply(ctx context.Context, collection, name string, body map[string]any) error {
	body = withName(body, name)
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	path := collection + "/" + url.PathEscape(name) + "?fieldManager=ci-cluster&force=true"
	response, err := c.do(ctx, http.MethodPatch, path, "application/apply-patch+yaml", bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", body["kind"], name, err)
	}
	return response.Close()
}

// withName copies an object and names the copy.
func withName(body map[string]any, name string) map[string]any {
	named, metadata := map[string]any{}, map[string]any{}
	for key, value := range body {
		named[key] = value
	}
	if given, ok := body["metadata"].(map[string]any); ok {
		for key, value := range given {
			metadata[key] = value
		}
	}
	metadata["name"] = name
	named["metadata"] = metadata
	return named
}

// Get reads an object.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	response, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer response.Close()
	return json.NewDecoder(response).Decode(into)
}

// Await watches one object until it satisfies done.
func (c *Client) Await(ctx context.Context, collection, name string, done func(object []byte) bool) error {
	path := collection + "?watch=1&fieldSelector=metadata.name%3D" + url.QueryEscape(name)
	for {
		found, err := c.watch(ctx, path, done)
		if found || ctx.Err() != nil || err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

// watch follows one stream of events to its end.
func (c *Client) watch(ctx context.Context, path string, done func(object []byte) bool) (bool, error) {
	response, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return false, err
	}
	defer response.Close()
	events := json.NewDecoder(response)
	for {
		var event struct {
			Type   string
			Object json.RawMessage
		}
		if err := events.Decode(&event); err != nil {
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, fmt.Errorf("watch %s: %w", path, err)
		}
		switch event.Type {
		case "ADDED", "MODIFIED":
			if done(event.Object) {
				return true, nil
			}
		case "ERROR":
			return false, fmt.Errorf("watch %s: %s", path, cut(event.Object))
		}
	}
}

func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.server+path, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, cut(said))
	}
	return response.Body, nil
}

// cut keeps an answer readable in one line.
func cut(raw []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(raw, &status) == nil && status.Message != "" {
		return status.Message
	}
	return string(raw[:min(len(raw), 256)])
}

// Healthy reports whether a health address answers with 200. Certificates are not checked: components sign their own,
// and nothing but the health is asked.
func Healthy(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := prober.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", address, response.Status, cut(said))
	}
	return nil
}

var prober = &http.Client{Transport: &http.Transport{
	TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	DisableKeepAlives: true,
}}
