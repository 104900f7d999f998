package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	c := &call{}
	verb, err := c.parse([]string{"load-image", "--name", "other", "a.tar", "b.tar"})
	if err != nil {
		t.Fatal(err)
	}
	if verb.name != "load-image" || c.name != "other" || !slices.Equal(c.arguments, []string{"a.tar", "b.tar"}) {
		t.Errorf("verb %s, name %s, arguments %q", verb.name, c.name, c.arguments)
	}
}

func TestBadInputIsOneLine(t *testing.T) {
	t.Parallel()
	tests := []struct{ line, says string }{
		{"", "a verb is missing"},
		{"fly", `no verb is called "fly"`},
		{"--fly up", "-fly"},
		{"up now", "use: cluster up"},
		{"stop", "use: cluster stop COMPONENT"},
		{"load-image", "use: cluster load-image FILE..."},
		{"up --name ../x", "cluster name"},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := Run(strings.Fields(test.line), &stdout, &stderr)
			said := stderr.String()
			if code != exitUsage || strings.Count(said, "\n") != 1 || !strings.Contains(said, test.says) || stdout.Len() > 0 {
				t.Errorf("code %d, said %q and %q", code, stdout.String(), said)
			}
		})
	}
}

func TestHelpNamesEveryVerb(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := Run([]string{"--help"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("code %d: %s", code, stderr.String())
	}
	for _, name := range verbNames() {
		if !strings.Contains(stdout.String(), "\n  "+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestFoldersMustBeAbsolute(t *testing.T) {
	t.Setenv("GP_CLUSTER_STATE", "relative")
	if _, err := stateRoot(); err == nil {
		t.Error("a relative folder passed")
	}
	t.Setenv("GP_CLUSTER_STATE", "/a/b/../c")
	if got, err := stateRoot(); err != nil || got != "/a/c" {
		t.Errorf("got %q, %v", got, err)
	}
}
