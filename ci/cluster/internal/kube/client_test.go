package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func client(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &Client{server: server.URL, http: server.Client()}
}

func TestApplySendsANamedCopy(t *testing.T) {
	t.Parallel()
	var got string
	c := client(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), body)
	})
	body := map[string]any{"kind": "Thing", "metadata": map[string]any{"labels": map[string]any{"a": "b"}}}
	if err := c.Apply(t.Context(), "/api/v1/things", "one", body); err != nil {
		t.Fatal(err)
	}
	want := `PATCH /api/v1/things/one application/apply-patch+yaml {"kind":"Thing","metadata":{"labels":{"a":"b"},"name":"one"}}`
	if got != want {
		t.Errorf("got %s", got)
	}
	if len(body["metadata"].(map[string]any)) != 1 {
		t.Error("the caller's object was changed")
	}
}

func TestAwaitFollowsTheWatchAcrossStreams(t *testing.T) {
	t.Parallel()
	streams := []string{
		`{"type":"ADDED","object":{"n":1}}{"type":"BOOKMARK","object":{"n":3}}`,
		`{"type":"MODIFIED","object":{"n":2}}{"type":"MODIFIED","object":{"n":3}}`,
	}
	calls := 0
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, streams[calls])
		calls++
	})
	err := c.Await(t.Context(), "/things", "one", func(object []byte) bool { return strings.Contains(string(object), "3") })
	if err != nil || calls != 2 {
		t.Errorf("%v after %d streams", err, calls)
	}
}

func TestAwaitTellsWhatTheServerRefuses(t *testing.T) {
	t.Parallel()
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","message":"you may not"}`)
	})
	err := c.Await(t.Context(), "/things", "one", func([]byte) bool { return true })
	if err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "you may not") {
		t.Errorf("got %v", err)
	}
}

func TestHealthy(t *testing.T) {
	t.Parallel()
	status := http.StatusServiceUnavailable
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	if err := Healthy(context.Background(), server.URL); err == nil {
		t.Error("503 passed for healthy")
	}
	status = http.StatusOK
	if err := Healthy(context.Background(), server.URL); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesWhatKubeadmDidNotWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(path, []byte("clusters: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "client-key-data") {
		t.Errorf("got %v", err)
	}
}
