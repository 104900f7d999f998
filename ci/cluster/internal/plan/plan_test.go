package plan

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNewTakesTheFirstFreeAddresses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		taken []string
		node  string
		dns   string
	}{
		{"nothing taken", nil, "10.250.0.2", "10.96.0.10"},
		{"default route does not count", []string{"0.0.0.0/0"}, "10.250.0.2", "10.96.0.10"},
		{"link taken", []string{"10.250.0.0/30"}, "10.250.1.2", "10.96.16.10"},
		{"pods taken", []string{"10.244.1.0/24"}, "10.250.1.2", "10.96.16.10"},
		{"services of two taken", []string{"10.96.0.0/19"}, "10.250.2.2", "10.96.32.10"},
		{"single addresses taken", []string{"10.250.0.1/32", "10.244.4.9/32"}, "10.250.2.2", "10.96.32.10"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := New("a", "/state", prefixes(test.taken))
			if err != nil {
				t.Fatal(err)
			}
			if p.NodeIP.String() != test.node || p.DNSIP.String() != test.dns {
				t.Errorf("node %s, dns %s; want %s, %s", p.NodeIP, p.DNSIP, test.node, test.dns)
			}
		})
	}
}

func TestNewWithoutFreeAddresses(t *testing.T) {
	t.Parallel()
	if _, err := New("a", "/state", prefixes([]string{"10.0.0.0/8"})); err == nil {
		t.Error("planned a cluster inside a network that the host uses")
	}
}

func TestSlotsDoNotTouch(t *testing.T) {
	t.Parallel()
	var taken []netip.Prefix
	for range slots {
		p, err := New("a", "/state", taken)
		if err != nil {
			t.Fatalf("after %d networks: %v", len(taken), err)
		}
		if !p.ServiceCIDR.Contains(p.DNSIP) || !p.LinkNet.Contains(p.HostIP) || !p.LinkNet.Contains(p.NodeIP) {
			t.Errorf("addresses outside their networks: %+v", p)
		}
		taken = append(taken, p.LinkNet, p.PodCIDR, p.ServiceCIDR)
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "a1", "gateway-provisioners", strings.Repeat("a", 24)} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "A", "1a", "a/b", "..", "a b", "ä", "a\n", strings.Repeat("a", 25)} {
		if CheckName(bad) == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

func TestNewRefusesALongFolder(t *testing.T) {
	t.Parallel()
	if _, err := New("a", "/"+strings.Repeat("x", 80), nil); err == nil {
		t.Error("a folder too long for sockets passed")
	}
}

func prefixes(texts []string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
