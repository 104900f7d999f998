package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var sum = "sha256:" + strings.Repeat("0a", 32)

func TestParseImport(t *testing.T) {
	t.Parallel()
	out := "unpacking docker.io/elyra/kernel-py:dev (" + sum + ")...done\nunpacking a:1 (" + sum + ")...done\n"
	want := []Image{{"docker.io/elyra/kernel-py:dev", sum}, {"a:1", sum}}
	if got := parseImport(out); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := parseImport("nothing\n"); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestParseList(t *testing.T) {
	t.Parallel()
	out := "REF TYPE DIGEST SIZE PLATFORMS LABELS\na:1 application/x " + sum + " 1.2 MiB linux/amd64 -\n"
	if got := parseList(out); !slices.Equal(got, []Image{{"a:1", sum}}) {
		t.Errorf("got %v", got)
	}
}

func TestWriteArchiveIsCompleteAndRepeatable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "pause")
	if err := os.WriteFile(program, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	var archives [2][]byte
	for i := range archives {
		path := filepath.Join(dir, "image.tar")
		if err := WriteArchive(path, "localhost/pause:1", program); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = raw
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the same program gave two archives")
	}
	contents := unpack(t, archives[0])
	layer, manifest := contents["layer.tar"], string(contents["manifest.json"])
	if got := unpack(t, layer)["pause"]; string(got) != "program" {
		t.Errorf("the layer's program is %q", got)
	}
	if !strings.Contains(manifest, `"localhost/pause:1"`) {
		t.Errorf("the manifest is %s", manifest)
	}
	for name, content := range contents {
		if strings.HasSuffix(name, ".json") && name != "manifest.json" {
			if name != digest(content)+".json" || !strings.Contains(string(content), digest(layer)) {
				t.Errorf("configuration %s does not name its layer: %s", name, content)
			}
		}
	}
}

func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	contents := map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if contents[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}
