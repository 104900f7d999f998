package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gateway-provisioners/ci/cluster/internal/filelock"
	"gateway-provisioners/ci/cluster/internal/run"
)

// Image is a name and what it stands for.
type Image struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Loader brings archives into one containerd.
type Loader struct {
	Socket string
	// Records is the folder that remembers which archives were loaded.
	Records string
}

// Load imports an archive unless it was loaded before and its names still stand for what it holds. Of several runs that
// load the same archive at once, one imports it.
func (l Loader) Load(ctx context.Context, path string) (images []Image, already bool, err error) {
	held, err := filelock.Hold(path)
	if err != nil {
		return nil, false, err
	}
	defer held.Close()
	sum, err := fileDigest(path)
	if err != nil {
		return nil, false, err
	}
	record := filepath.Join(l.Records, sum+".json")
	if images, err = l.recorded(ctx, record); err != nil {
		return nil, false, err
	}
	if len(images) > 0 {
		return images, true, nil
	}
	out, err := run.Output(ctx, "ctr", "--address", l.Socket, "--namespace", "k8s.io", "images", "import", path)
	if err != nil {
		return nil, false, fmt.Errorf("import %s: %w", path, err)
	}
	if images = parseImport(out); len(images) == 0 {
		return nil, false, fmt.Errorf("import %s: it holds no named image; write it with `buildah push NAME docker-archive:FILE:NAME`, or `docker save NAME`", path)
	}
	return images, false, l.remember(record, images)
}

// recorded returns what a loaded archive brought, or nothing where that is no longer what the node has: a later
// archive may have taken its names.
func (l Loader) recorded(ctx context.Context, record string) ([]Image, error) {
	raw, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var images []Image
	if err := json.Unmarshal(raw, &images); err != nil {
		return nil, fmt.Errorf("read %s: %w", record, err)
	}
	present, err := l.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, image := range images {
		if !slices.Contains(present, image) {
			return nil, nil
		}
	}
	return images, nil
}

func (l Loader) remember(record string, images []Image) error {
	raw, err := json.Marshal(images)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.Records, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(record+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(record+".new", record)
}

// List returns the images on the node.
func (l Loader) List(ctx context.Context) ([]Image, error) {
	out, err := run.Output(ctx, "ctr", "--address", l.Socket, "--namespace", "k8s.io", "images", "list")
	if err != nil {
		return nil, fmt.Errorf("list the images of the node: %w", err)
	}
	return parseList(out), nil
}

func parseList(out string) []Image {
	var images []Image
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 2 && strings.HasPrefix(fields[2], "sha256:") {
			images = append(images, Image{fields[0], fields[2]})
		}
	}
	return images
}

// imported matches what ctr says of each image that an archive held.
var imported = regexp.MustCompile(`(?m)^unpacking (\S+) \((sha256:[0-9a-f]{64})\)`)

func parseImport(out string) []Image {
	var images []Image
	for _, match := range imported.FindAllStringSubmatch(out, -1) {
		images = append(images, Image{match[1], match[2]})
	}
	return images
}

func fileDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
