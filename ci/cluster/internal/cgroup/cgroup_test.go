package cgroup

import (
	"slices"
	"strings"
	"testing"
)

func TestParseMounts(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, mounts, all, primary string }{
		{
			"version 1 beside an unused version 2",
			"cgroup /c/cpu cgroup rw,relatime,cpu 0 0\ncgroup /c/pids cgroup rw,pids 0 0\n" +
				"cgroup /c/systemd cgroup rw,name=systemd 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n",
			"/c/cpu /c/pids /c/systemd /c/unified", "/c/cpu /c/pids",
		},
		{"joint controllers count once", "c /c/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n", "/c/cpu,cpuacct", "/c/cpu,cpuacct"},
		{"version 2 alone", "cgroup2 /c cgroup2 rw 0 0\nproc /proc proc rw 0 0\n", "/c", "/c"},
		{"none", "proc /proc proc rw 0 0\n", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			all, primary := parseMounts(test.mounts)
			if !slices.Equal(all, strings.Fields(test.all)) || !slices.Equal(primary, strings.Fields(test.primary)) {
				t.Errorf("got %v, %v", all, primary)
			}
		})
	}
}
