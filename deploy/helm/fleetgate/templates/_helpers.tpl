{{- define "fleetgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fleetgate.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "fleetgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "fleetgate.selector" . }}
{{- end -}}

{{- define "fleetgate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fleetgate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What the schema of the values cannot say. */}}
{{- define "fleetgate.check" -}}
{{- with .Values.issuer -}}
{{- if .enabled -}}
{{- if not .url -}}{{- fail "issuer.url is empty: set it to the https address by which devices reach the issuer" -}}{{- end -}}
{{- if and .postgres.url (not .keyEncryptionKeySecret.name) -}}
{{- fail "issuer.postgres.url needs issuer.keyEncryptionKeySecret.name: all issuers on a database share one key" -}}
{{- end -}}
{{- if and (gt (int .replicas) 1) (not .postgres.url) -}}
{{- fail "issuer.replicas is over 1, and SQLite has one writer: set issuer.postgres.url" -}}
{{- end -}}
{{- if and (not .postgres.url) (not .persistence.enabled) -}}
{{- fail "issuer.persistence.enabled is false: clients and keys would be lost with the pod; leave it on, or set issuer.postgres.url" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.broker.enabled -}}
{{- if and (gt (int .Values.broker.replicas) 1) (not .Values.broker.redis.url) -}}
{{- fail "broker.replicas is over 1, and without Redis each broker has sessions of its own: set broker.redis.url" -}}
{{- end -}}
{{- if not (or .Values.broker.trustedIssuer (and .Values.issuer.enabled .Values.issuer.url)) -}}
{{- fail "broker.trustedIssuer is empty: name the issuer whose tokens the broker accepts" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The configuration file of a role; what the values say in its words has the last word. */}}
{{- define "fleetgate.issuer.config" -}}
{{- $of := .Values.issuer -}}
{{- $http := dict "host" "0.0.0.0" "port" 8080 -}}
{{- if $of.tls.secretName -}}
{{- $http = merge $http (dict "tls_cert_file" "/etc/fleetgate-tls/tls.crt" "tls_key_file" "/etc/fleetgate-tls/tls.key") -}}
{{- end -}}
{{- $issuer := dict "url" $of.url "http" $http "coap" (dict "enabled" $of.coap.enabled "host" "0.0.0.0" "port" 5683) -}}
{{- if $of.postgres.url -}}{{- $issuer = merge $issuer (dict "database" $of.postgres.url) -}}{{- end -}}
{{- $admin := dict "host" (ternary "0.0.0.0" "127.0.0.1" $of.metrics.enabled) "port" 8081 -}}
{{- toYaml (mergeOverwrite (dict "issuer" $issuer "admin" $admin) (deepCopy $of.config)) -}}
{{- end -}}

{{- define "fleetgate.broker.config" -}}
{{- $of := .Values.broker -}}
{{- $tls := dict -}}
{{- if $of.tls.secretName -}}
{{- $tls = dict "tls_cert_file" "/etc/fleetgate-tls/tls.crt" "tls_key_file" "/etc/fleetgate-tls/tls.key" -}}
{{- end -}}
{{- $listeners := list -}}
{{- range include "fleetgate.broker.ports" . | fromYamlArray -}}
{{- $listeners = append $listeners (merge (dict "protocol" .name "host" "0.0.0.0" "port" (int .containerPort)) $tls) -}}
{{- end -}}
{{- $issuer := dict "issuer" (default .Values.issuer.url $of.trustedIssuer) -}}
{{- if $of.feedCredentialsSecret.name -}}
{{- $issuer = merge $issuer (dict "credentials_file" "/etc/fleetgate-secrets/feed.json") -}}
{{- end -}}
{{- $broker := dict "listeners" $listeners "trusted_issuers" (list $issuer) "policy_file" "/etc/fleetgate-policy/policy.yaml" -}}
{{- with $of.redis -}}
{{- if .url -}}
{{- $cluster := dict "redis" .url -}}
{{- if .username -}}{{- $cluster = merge $cluster (dict "username" .username) -}}{{- end -}}
{{- $broker = merge $broker (dict "cluster" $cluster) -}}
{{- end -}}
{{- end -}}
{{- $admin := dict "host" "0.0.0.0" "port" 8081 -}}
{{- toYaml (mergeOverwrite (dict "broker" $broker "admin" $admin) (deepCopy $of.config)) -}}
{{- end -}}

{{- define "fleetgate.broker.ports" -}}
{{- $isSecure := not (empty .Values.broker.tls.secretName) -}}
- { name: {{ ternary "mqtts" "mqtt" $isSecure }}, containerPort: {{ ternary 8883 1883 $isSecure }} }
{{- if .Values.broker.websocket.enabled }}
- { name: {{ ternary "wss" "ws" $isSecure }}, containerPort: {{ ternary 8443 8083 $isSecure }} }
{{- end }}
{{- end -}}

{{/* One Secret as a file: name of the volume, name and key of the Secret, path. */}}
{{- define "fleetgate.secretFile" -}}
- secret:
    name: {{ .secret.name }}
    items: [ { key: {{ .secret.key | quote }}, path: {{ .path }} } ]
{{- end -}}
