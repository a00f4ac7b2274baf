{{- define "image-service-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "image-service-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Without versions: a change of the chart alone restarts no pod. */}}
{{- define "image-service-operator.podLabels" -}}
{{ include "image-service-operator.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: image-service
{{- end }}

{{- define "image-service-operator.labels" -}}
{{ include "image-service-operator.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "image-service-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "image-service-operator.fullname" .) }}
{{- end }}

{{- define "image-service-operator.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository $tag }}
{{- end }}
{{- end }}

{{- define "image-service-operator.crdAnnotations" -}}
{{- $annotations := deepCopy .Values.crds.annotations }}
{{- if .Values.crds.keep }}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" }}
{{- end }}
{{- if $annotations }}
{{- toYaml $annotations }}
{{- end }}
{{- end }}

{{/* What the operator may do with the objects of the namespaces that it looks after, and why. */}}
{{- define "image-service-operator.rules" -}}
# Its own kinds: read the spec, hold a finalizer while Keystone's catalogue has entries or a store may have images, write
# the status.
- apiGroups: [imageservice.dev]
  resources: [imageservices, imagestores, cachepolicies, imageprecaches]
  verbs: [get, list, watch, patch]
- apiGroups: [imageservice.dev]
  resources: [imageservices/status, imagestores/status, cachepolicies/status, imageprecaches/status]
  verbs: [patch]
# Children block the deletion of their owner (blockOwnerDeletion), which some clusters check by this right.
- apiGroups: [imageservice.dev]
  resources: [imageservices/finalizers, imagestores/finalizers, cachepolicies/finalizers]
  verbs: [update]
# The children themselves.
- apiGroups: [apps]
  resources: [deployments, daemonsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# Secrets: the user's are read by name (database, Keystone, stores). Glance's configuration, which has passwords in it, is a
# Secret of the operator's own: made, listed, deleted when no pod uses it any more. All are watched, by their metadata
# alone, to hear when one changes. RBAC knows neither labels nor names that are not known beforehand, so the right is for
# all Secrets of the namespace: limit it to some namespaces with `watchNamespaces`.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# Where the agents of the caches are, one on each node: far fewer and smaller objects than their pods.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
# Why a pod does not start, and its last words.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
# Whether a claim exists, and how it may be mounted; where the monitors of a Ceph cluster are.
- apiGroups: [""]
  resources: [persistentvolumeclaims, configmaps]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
