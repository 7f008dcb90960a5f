"""HorizontalPodAutoscalers: as many Pods as their load needs. Pure decisions, one thin runner."""
