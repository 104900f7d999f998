package netns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseRoutes(t *testing.T) {
	t.Parallel()
	table := `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
gp0	0000F40A	0200FA0A	0003	0	0	0	00FCFFFF	0	0	0
`
	got, err := parseRoutes(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.244.0.0/22"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseRoutesRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"eth0 00000000", "e zzzzzzzz 0 0 0 0 0 00000000", "e 00000000 0 0 0 0 0 00"} {
		if _, err := parseRoutes(strings.NewReader("heading\n" + line + "\n")); err == nil {
			t.Errorf("%q passed", line)
		}
	}
}
