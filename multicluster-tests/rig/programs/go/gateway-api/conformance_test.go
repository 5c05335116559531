// The conformance suite of the Gateway API as a program, and the list of its tests as the suite itself has it.
package suite

import (
	"encoding/json"
	"fmt"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// TestConformance runs the suite; everything about the run is a flag of the suite.
func TestConformance(t *testing.T) {
	conformance.RunConformanceWithOptions(t, conformance.DefaultOptions(t))
}

// The profiles that a report counts tests for.
var profiles = []suite.ConformanceProfile{
	suite.GatewayHTTPConformanceProfile,
	suite.GatewayGRPCConformanceProfile,
	suite.GatewayTLSConformanceProfile,
	suite.GatewayTCPConformanceProfile,
	suite.GatewayUDPConformanceProfile,
	suite.MeshHTTPConformanceProfile,
	suite.MeshGRPCConformanceProfile,
}

// A test of the suite, one line of JSON each.
type listed struct {
	Name        string            `json:"name"`
	Features    []string          `json:"features"`
	Parallel    bool              `json:"parallel"`
	Provisional bool              `json:"provisional"`
	Profiles    map[string]string `json:"profiles"`
}

// TestList asks no cluster: it writes what the suite would run.
func TestList(t *testing.T) {
	for _, test := range tests.ConformanceTests {
		features := make([]string, 0, len(test.Features))
		for _, feature := range test.Features {
			features = append(features, string(feature))
		}
		line, err := json.Marshal(listed{
			Name:        test.ShortName,
			Features:    features,
			Parallel:    test.Parallel,
			Provisional: test.Provisional,
			Profiles:    profilesOf(test),
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(string(line))
	}
}

// A test belongs to a profile that knows all of its features, and is core there if all of them are.
func profilesOf(test suite.ConformanceTest) map[string]string {
	found := map[string]string{}
	for _, profile := range profiles {
		switch {
		case profile.CoreFeatures.HasAll(test.Features...):
			found[string(profile.Name)] = "core"
		case profile.CoreFeatures.Union(profile.ExtendedFeatures).HasAll(test.Features...):
			found[string(profile.Name)] = "extended"
		}
	}
	return found
}
