{{/* What issuer and broker have in common. `of`: their values; `role`; `probe`: port and scheme of /livez and /readyz. */}}
{{- define "fleetgate.pod" -}}
{{- $root := .root -}}
{{- $of := .of -}}
metadata:
  labels: {{- include "fleetgate.labels" . | nindent 4 }}
  annotations:
    # Another configuration is another pod; the policy is read again without one.
    checksum/config: {{ .config | sha256sum }}
    {{- with $of.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "fleetgate.serviceAccount" $root }}
  # It asks nothing of Kubernetes.
  automountServiceAccountToken: false
  enableServiceLinks: false
  # Time for the endpoints to go (preStop), and for the process to close: 10 s.
  terminationGracePeriodSeconds: 30
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    runAsGroup: 1000
    fsGroup: 1000
    # Else each mount makes the keys on the volume readable by the group, and the issuer refuses them.
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ printf "%s:%s" $root.Values.image.repository (default $root.Chart.AppVersion $root.Values.image.tag) | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [ {{ .role }} ]
      env:
        - { name: FLEETGATE_CONFIG, value: /etc/fleetgate/fleetgate.yaml }
        # Made by the process, of mode 0700: a volume's own directory may be written to by its group.
        - { name: FLEETGATE_DATA_DIR, value: /data/fleetgate }
        {{- if $root.Values.caConfigMap }}
        - { name: NODE_EXTRA_CA_CERTS, value: /etc/fleetgate-ca/ca.pem }
        {{- end }}
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $of.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports: {{- .ports | nindent 8 }}
        - { name: admin, containerPort: 8081 }
      startupProbe:
        httpGet: { path: /livez, port: {{ .probe.port }}, scheme: {{ .probe.scheme }} }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /livez, port: {{ .probe.port }}, scheme: {{ .probe.scheme }} }
        periodSeconds: 10
        timeoutSeconds: 5
      readinessProbe:
        httpGet: { path: /readyz, port: {{ .probe.port }}, scheme: {{ .probe.scheme }} }
        periodSeconds: 5
        timeoutSeconds: 5
      lifecycle:
        preStop: { exec: { command: [ sleep, "5" ] } }
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ ALL ] }
      resources: {{- toYaml $of.resources | nindent 8 }}
      volumeMounts:
        - { name: config, mountPath: /etc/fleetgate, readOnly: true }
        - { name: data, mountPath: /data }
        - { name: tmp, mountPath: /tmp }
        {{- if eq .role "broker" }}
        - { name: policy, mountPath: /etc/fleetgate-policy, readOnly: true }
        {{- end }}
        {{- if .secrets }}
        - { name: secrets, mountPath: /etc/fleetgate-secrets, readOnly: true }
        {{- end }}
        {{- if $of.tls.secretName }}
        - { name: tls, mountPath: /etc/fleetgate-tls, readOnly: true }
        {{- end }}
        {{- if $root.Values.caConfigMap }}
        - { name: ca, mountPath: /etc/fleetgate-ca, readOnly: true }
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "fleetgate.fullname" $root }}-{{ .role }}
    - name: data
      {{- .data | nindent 6 }}
    - name: tmp
      emptyDir: { medium: Memory, sizeLimit: 16Mi }
    {{- if eq .role "broker" }}
    - name: policy
      configMap:
        name: {{ include "fleetgate.fullname" $root }}-policy
    {{- end }}
    {{- with .secrets }}
    - name: secrets
      # With fsGroup 0440 and of root: what Fleetgate takes of a file with a secret.
      projected:
        defaultMode: 0400
        sources: {{- . | nindent 10 }}
    {{- end }}
    {{- with $of.tls.secretName }}
    - name: tls
      secret: { secretName: {{ . }}, defaultMode: 0400 }
    {{- end }}
    {{- with $root.Values.caConfigMap }}
    - name: ca
      configMap: { name: {{ . }} }
    {{- end }}
  {{- with $of.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $of.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $of.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $of.topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
