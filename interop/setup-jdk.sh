#!/usr/bin/env bash
# Installs the peers that need a JDK, pinned: Keycloak from Maven Central, into interop/peers/jdk, built for a database in
# memory; and builds a Spring Authorization Server. It needs root if there is no JDK or no Maven. What is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/peers"
keycloak=26.7.3
if ! command -v mvn >/dev/null || ! command -v javac >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openjdk-17-jdk-headless maven >/dev/null
fi
mkdir -p jdk
if [ ! -e "jdk/keycloak-$keycloak/built" ]; then
	rm -rf "jdk/keycloak-$keycloak"
	mvn -q -B dependency:copy -Dartifact="org.keycloak:keycloak-quarkus-dist:$keycloak:zip" -DoutputDirectory="$PWD/jdk"
	(cd jdk && jar xf "keycloak-quarkus-dist-$keycloak.zip" && rm "keycloak-quarkus-dist-$keycloak.zip" && chmod +x "keycloak-$keycloak/bin/kc.sh")
	"jdk/keycloak-$keycloak/bin/kc.sh" build --db=dev-mem --cache=local --health-enabled=false --features=cimd,identity-assertion-jwt >/dev/null
	touch "jdk/keycloak-$keycloak/built"
fi
if [ -n "$(find spring/pom.xml spring/src -newer spring/target/spring.jar 2>/dev/null || echo none)" ]; then
	mvn -q -B -f spring/pom.xml -DskipTests package
fi
echo "peers that need a JDK: ready"
